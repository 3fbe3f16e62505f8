//! The authority that signs the certificate of the port for carriers, and that certificate. The authority's key is in
//! `datadir`; its certificate travels in the orders of carriers, which trust no other.

use anyhow::Context;
use atq_files::{Mode, if_there, write_atomic};
use hmac::{Hmac, Mac};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use time::OffsetDateTime;

/// File in `datadir` with the authority's key and certificate.
const FILE: &str = "node-ca.pem";
/// Name of the authority. It is part of stored certificates, so it never changes.
const AUTHORITY: &str = "ATQ Director, carriers";
/// Name of the server.
const SERVER: &str = "ATQ Director";
/// Validity of all certificates.
const VALID_FOR: time::Duration = time::Duration::days(3653);
/// An authority that expires within this time is replaced at the start.
const LEAST_VALIDITY: Duration = Duration::from_secs(365 * 86_400);

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// Key of the server.
    key: KeyPair,
}

impl Authority {
    /// Reads the authority in `datadir`, or creates one. Blocks the thread.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(datadir: &Path) -> anyhow::Result<Self> {
        let path = datadir.join(FILE);
        let shown = path.display();
        let stored =
            if_there(std::fs::read(&path)).with_context(|| format!("cannot read `{shown}`"))?;
        if let Some(stored) = stored {
            match Self::parse(&stored).and_then(|found| found.check().map(|()| found)) {
                Ok(found) => return Ok(found),
                Err(error) => tracing::warn!(
                    "the certificate in `{shown}` cannot be used, creating a new one; carriers of running tests will not trust it: {error:#}"
                ),
            }
        }
        let key = KeyPair::generate()?;
        let pem = authority_params()?.self_signed(&key)?.pem();
        let text = format!("{}{pem}", key.serialize_pem());
        let created = Self::with(key, pem)?;
        created.check()?;
        write_atomic(&path, text.as_bytes(), Mode::Private)
            .with_context(|| format!("cannot write `{shown}`"))?;
        Ok(created)
    }

    fn parse(stored: &[u8]) -> anyhow::Result<Self> {
        let key = PrivateKeyDer::from_pem_slice(stored).map_err(|_| anyhow::anyhow!("no key"))?;
        let text = std::str::from_utf8(stored)?;
        let start = text
            .find("-----BEGIN CERTIFICATE")
            .context("no certificate")?;
        let pem = text.get(start..).unwrap_or_default();
        Self::with(KeyPair::try_from(&key)?, pem.to_owned())
    }

    fn with(key: KeyPair, pem: String) -> anyhow::Result<Self> {
        Ok(Self {
            issuer: Issuer::new(authority_params()?, key),
            pem,
            key: KeyPair::generate()?,
        })
    }

    /// Checks that carriers accept what this authority signs, now and for some time.
    fn check(&self) -> anyhow::Result<()> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes())?)?;
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        let address = Ipv4Addr::LOCALHOST;
        let signed = self.server(&[address.to_string()].into())?;
        let later = Duration::from_secs(UnixTime::now().as_secs()) + LEAST_VALIDITY;
        verifier.verify_server_cert(
            signed.end_entity_cert()?,
            &[],
            &ServerName::from(std::net::IpAddr::V4(address)),
            &[],
            UnixTime::since_unix_epoch(later),
        )?;
        Ok(())
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// A secret that only the owner of the authority can derive from `label`.
    pub fn derive(&self, label: &str) -> String {
        let key = Sha256::digest(self.issuer.key().serialized_der());
        // A key of any length is valid.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else {
            return String::new();
        };
        mac.update(b"atq-run\0");
        mac.update(label.as_bytes());
        format!("{:x}", mac.finalize().into_bytes())
    }

    /// A certificate of the server for these names and addresses.
    ///
    /// # Errors
    /// When a name is invalid.
    pub fn server(&self, names: &BTreeSet<String>) -> anyhow::Result<CertifiedKey> {
        let names: Vec<String> = names.iter().cloned().collect();
        let mut params = params(SERVER, names)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&self.key, &self.issuer)?;
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).map_err(anyhow::Error::msg)?;
        let key = any_supported_type(&key)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    }
}

fn authority_params() -> anyhow::Result<CertificateParams> {
    let mut params = params(AUTHORITY, Vec::new())?;
    // It signs servers only, not further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn params(name: &str, names: Vec<String>) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names).context("invalid host of `advertiseUrl`")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // In the past, so that nodes whose clock is late accept it, too.
    params.not_before = OffsetDateTime::UNIX_EPOCH + time::Duration::days(365 * 30);
    params.not_after = OffsetDateTime::now_utc() + VALID_FOR;
    Ok(params)
}

/// The certificate of the server; it is replaced when an address is added.
pub struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl CurrentCertificate {
    /// Starts with this one.
    pub fn new(first: CertifiedKey) -> Self {
        Self(RwLock::new(Arc::new(first)))
    }

    /// Uses another one for new connections.
    pub fn replace(&self, other: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(other);
    }
}

impl fmt::Debug for CurrentCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentCertificate")
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

/// The TLS configuration of the port.
///
/// # Errors
/// Never: the provider supports the default versions of TLS.
pub fn server_config(certificate: Arc<CurrentCertificate>) -> anyhow::Result<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(Arc::new(
        builder
            .with_no_client_auth()
            .with_cert_resolver(certificate),
    ))
}
