//! Trusted certificates: those of this machine, and those of `--ca`.
//!
//! A certificate in the list is itself trusted for its names while it is valid. This allows self-signed certificates; webpki
//! alone rejects those that are marked as a CA, as `openssl req -x509` does.

use crate::error::{CliError, innermost};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Hint when there are no trusted certificates.
const NO_CERTIFICATES: &str = "`https` needs trusted certificates: install `ca-certificates`, or set `--ca FILE` or \
                               `SSL_CERT_FILE`";
/// Hint when the server requires TLS.
pub const USE_HTTPS: &str = "should the URL start with `https://`?";
/// Hint when a certificate is not trusted.
const UNTRUSTED: &str = "trust the certificate or its CA with a PEM file: `--ca FILE`, `ATQ_CA`, `ca` in the \
                         configuration file, or `SSL_CERT_FILE`";

/// Certificates that are trusted in addition to those of the machine.
#[derive(Debug, Clone, Default)]
pub struct Trust(Vec<CertificateDer<'static>>);

impl Trust {
    /// Reads the certificates of a PEM file.
    ///
    /// # Errors
    /// When the file cannot be read, or has no valid certificate.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let invalid = |why: String| {
            CliError::usage(
                format!("`--ca {}`: {why}", path.display()),
                "expected a file with certificates in PEM: `-----BEGIN CERTIFICATE-----`; \
                 `openssl x509 -inform der -in FILE` converts DER",
            )
        };
        let text =
            std::fs::read(path).map_err(|error| invalid(format!("cannot be read: {error}")))?;
        let certificates = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| invalid(format!("is not PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(invalid("has no certificate".to_owned()));
        }
        for certificate in &certificates {
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| invalid(format!("has an invalid certificate: {error}")))?;
        }
        Ok(Self(certificates))
    }

    /// The TLS configuration.
    ///
    /// # Errors
    /// When there is no trusted certificate at all.
    pub fn config(&self) -> Result<ClientConfig, CliError> {
        let unusable = |error: &dyn std::error::Error| {
            CliError::failed(format!("`https` cannot be used: {error}"), NO_CERTIFICATES)
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

/// Trusts chains to a CA, and the trusted certificates themselves.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

/// Verifies signatures like for any other chain.
macro_rules! delegate_to_chains {
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
            // webpki checks the validity dates first.
            Err(Error::InvalidCertificate(reason))
                if !is_out_of_date(&reason) && self.trusted.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    delegate_to_chains!(verify_tls12_signature, verify_tls13_signature);

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

/// The reason of a TLS error with a hint, for a URL with this scheme; `None` for other errors.
pub fn explain(error: &reqwest::Error, scheme: &str) -> Option<(String, &'static str)> {
    let Some(fault) = tls_error(error) else {
        return (scheme == "http" && is_not_http(error)).then(|| {
            (
                "the server does not answer in HTTP; it may require TLS".to_owned(),
                USE_HTTPS,
            )
        });
    };
    let explanation = match fault {
        Error::InvalidCertificate(reason) => explain_certificate(reason),
        Error::InvalidMessage(_) => (
            "the server does not use TLS".to_owned(),
            "should the URL start with `http://`?",
        ),
        Error::AlertReceived(AlertDescription::CertificateRequired) => (
            "the server requires a certificate of the client".to_owned(),
            "`atq` has no client certificates; use the URL of the Director itself, or a proxy that accepts tokens",
        ),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => (
            "the server has no certificate for this host".to_owned(),
            "use a host of the certificate's subject alternative names in the URL",
        ),
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
        ) => (
            format!("the server and `atq` have no TLS version or cipher suite in common ({fault})"),
            "the server must support TLS 1.2 or 1.3",
        ),
        _ => return None,
    };
    Some(explanation)
}

/// Whether the response was not HTTP. A server that requires TLS responds with an alert. reqwest does not expose the kind of
/// hyper's error, only its text.
fn is_not_http(error: &reqwest::Error) -> bool {
    innermost(error).to_string().starts_with("invalid HTTP")
}

fn explain_certificate(reason: &CertificateError) -> (String, &'static str) {
    match reason {
        // webpki reports a self-signed certificate as `Other`.
        CertificateError::UnknownIssuer | CertificateError::Other(_) => (
            "its certificate is not trusted: it is self-signed, or its CA is unknown".to_owned(),
            UNTRUSTED,
        ),
        // The issuer has the name of a trusted CA, but another key.
        CertificateError::BadSignature => (
            "its certificate is not trusted: it is signed by another CA with the name of a trusted one".to_owned(),
            "was the CA replaced? update the file of `--ca`, `ATQ_CA` or `ca`",
        ),
        reason if is_expired(reason) => (
            format!("its certificate has expired ({reason})"),
            "renew it; is the clock of this machine correct?",
        ),
        reason if is_early(reason) => (
            format!("its certificate is not valid yet ({reason})"),
            "is the clock of this machine correct?",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("its certificate is for another host ({reason})"),
            "use a host of the certificate's subject alternative names in the URL",
        ),
        reason => (format!("its certificate is invalid: {reason}"), UNTRUSTED),
    }
}

/// The TLS error among the causes. The inner error of an `io::Error` is not its source and needs `get_ref`.
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
