//! Whose certificates are trusted: those of this machine, and those of `--ca`.
//!
//! A certificate that is in the list itself is trusted for its names while it is valid. That is how self-signed ones are
//! used; webpki alone accepts them only when they are not marked as an authority, which `openssl req -x509` does.

use crate::trouble::Trouble;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What helps when there are no certificates to trust.
const NO_CERTIFICATES: &str = "`https` needs certificates to trust: the package `ca-certificates`, `--ca FILE`, \
                               or `SSL_CERT_FILE`";
/// What helps when one is not trusted.
const UNTRUSTED: &str = "`--ca FILE` (or `ATQ_CA`, or `ca:` of the configuration file) trusts the certificate, or its \
                         authority, that is in FILE as PEM; so does `SSL_CERT_FILE`";

/// Certificates that are trusted besides those of the machine.
#[derive(Debug, Clone, Default)]
pub struct Trust(Vec<CertificateDer<'static>>);

impl Trust {
    /// The certificates of a PEM file.
    ///
    /// # Errors
    /// When it cannot be read, or holds none.
    pub fn read(path: &Path) -> Result<Self, Trouble> {
        let wrong = |why: String| {
            Trouble::usage(
                format!("`--ca {}`: {why}", path.display()),
                "expected a file with certificates in PEM: `-----BEGIN CERTIFICATE-----`; \
                 `openssl x509 -inform der -in FILE` makes one of DER",
            )
        };
        let text =
            std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let certificates = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(format!("is not PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(wrong("holds no certificate".to_owned()));
        }
        for certificate in &certificates {
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| {
                    wrong(format!("holds a certificate that cannot be used: {error}"))
                })?;
        }
        Ok(Self(certificates))
    }

    /// How connections are encrypted.
    ///
    /// # Errors
    /// When there is no certificate to trust at all.
    pub fn config(&self) -> Result<ClientConfig, Trouble> {
        let unusable = |error: &dyn std::error::Error| {
            Trouble::failed(format!("`https` cannot be used: {error}"), NO_CERTIFICATES)
        };
        let mut trusted = rustls_native_certs::load_native_certs().certs;
        trusted.extend(self.0.iter().cloned());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chains = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::<CryptoProvider>::clone(&provider),
        );
        let chains = chains.build().map_err(|error| unusable(&error))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { chains, trusted }))
            .with_no_client_auth();
        Ok(config)
    }
}

/// Trusts chains to an authority, and the trusted certificates themselves.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

/// Signatures are verified as for any other chain.
macro_rules! as_of_chains {
    ($($verify:ident),*) => {$(
        fn $verify(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.chains.$verify(message, certificate, signature)
        }
    )*};
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // webpki looks at the dates before anything else.
            Err(Error::InvalidCertificate(reason))
                if !is_out_of_date(&reason) && self.trusted.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    as_of_chains!(verify_tls12_signature, verify_tls13_signature);

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

fn is_out_of_date(reason: &CertificateError) -> bool {
    is_expired(reason) || is_early(reason)
}

fn is_expired(reason: &CertificateError) -> bool {
    matches!(
        reason,
        CertificateError::Expired | CertificateError::ExpiredContext { .. }
    )
}

fn is_early(reason: &CertificateError) -> bool {
    matches!(
        reason,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
    )
}

/// Why no encrypted connection came about, and what to do; nothing when the error is of another kind.
pub fn explain(error: &reqwest::Error) -> Option<(String, &'static str)> {
    let told = match tls_error(error)? {
        Error::InvalidCertificate(reason) => explain_certificate(reason),
        Error::InvalidMessage(_) => (
            "what answers there does not speak TLS".to_owned(),
            "is the URL one with `http://`?",
        ),
        _ => return None,
    };
    Some(told)
}

fn explain_certificate(reason: &CertificateError) -> (String, &'static str) {
    match reason {
        // The other one is webpki's word for a self-signed one.
        CertificateError::UnknownIssuer | CertificateError::Other(_) => (
            "its certificate is not trusted: it is self-signed, or its authority is unknown here"
                .to_owned(),
            UNTRUSTED,
        ),
        reason if is_expired(reason) => (
            format!("its certificate has expired ({reason})"),
            "it has to be renewed; is the clock of this machine right?",
        ),
        reason if is_early(reason) => (
            format!("its certificate is not valid yet ({reason})"),
            "is the clock of this machine right?",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("its certificate is for another host ({reason})"),
            "the URL needs a host that is among the certificate's subject alternative names",
        ),
        reason => (
            format!("its certificate cannot be used: {reason}"),
            UNTRUSTED,
        ),
    }
}

/// The error of TLS among the causes; an `io::Error` shows what is in it only when it is asked.
fn tls_error(error: &reqwest::Error) -> Option<&Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests;
