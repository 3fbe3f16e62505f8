//! A private authority and a certificate of it for loopback, as files in PEM.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::{Path, PathBuf};

/// Files of a private authority and of a server with a certificate of it.
pub struct PrivateAuthority {
    /// Certificate of the authority, which clients trust.
    pub certificate: PathBuf,
    server: (PathBuf, PathBuf),
}

impl PrivateAuthority {
    /// Creates the files in `dir`. The certificate of the server is valid for 127.0.0.1.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(dir: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "a private authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let server = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        Ok(Self {
            certificate: write("authority.pem", issuer.pem())?,
            server: (
                write("tls.crt", server.pem())?,
                write("tls.key", key.serialize_pem())?,
            ),
        })
    }

    /// The lines of a Director's configuration that use the certificate.
    pub fn configuration(&self) -> String {
        let (certificate, key) = (self.server.0.display(), self.server.1.display());
        format!("tls:\n  certificate: {certificate}\n  key: {key}\n")
    }
}
