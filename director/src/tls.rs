//! The certificate of a port: read at start, and again whenever its files change, so that a renewed certificate needs no
//! restart.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::signal::unix::Signal;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Interval between two checks of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// A certificate that expires within this time is logged.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);
/// Interval between two warnings about the expiry.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(86_400);
/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Permission bit: other users may read.
const OTHERS_READ: u32 = 0o004;

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{key}` cannot be used: `{}`: {source}", .path.display())]
pub struct TlsError {
    /// The key of the configuration.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub source: io::Error,
}

/// The two files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, followed by its chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Files {
    /// Reads both files. The key must belong to the certificate; its time is not checked. Blocks the thread.
    ///
    /// # Errors
    /// Names the file and the reason.
    pub fn load(&self) -> Result<CertifiedKey, TlsError> {
        let chain = read_chain(&self.certificate).map_err(|e| self.in_certificate(e))?;
        let key = read_key(&self.key).map_err(|e| self.in_key(e))?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => self.in_key(invalid(
                "the key does not belong to the first certificate in `tls.certificate`, which must be that of the \
                 server; its chain follows",
            )),
            Error::InvalidCertificate(_) => {
                self.in_certificate(invalid(&format!("the first certificate is invalid: {error}")))
            }
            error => self.in_key(invalid(&format!("the key cannot be used: {error}"))),
        })
    }

    fn in_certificate(&self, source: io::Error) -> TlsError {
        TlsError {
            key: "tls.certificate",
            path: self.certificate.clone(),
            source,
        }
    }

    fn in_key(&self, source: io::Error) -> TlsError {
        TlsError {
            key: "tls.key",
            path: self.key.clone(),
            source,
        }
    }

    /// State of both files; follows links, whose targets change when Kubernetes or certbot replace a certificate.
    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| fs::metadata(path).ok().map(|found| of(&found)))
    }

    /// Warns about a key that any user can read.
    fn warn_about_mode(&self) {
        if fs::metadata(&self.key).is_ok_and(|found| found.mode() & OTHERS_READ != 0) {
            tracing::warn!(
                "every user of this machine can read the private key `{}`",
                self.key.display()
            );
        }
    }
}

/// Device, inode, size, and times of modification and change of a file.
type FileStamp = (u64, u64, u64, (i64, i64), (i64, i64));
type Stamp = [Option<FileStamp>; 2];

fn of(found: &Metadata) -> FileStamp {
    let modified = (found.mtime(), found.mtime_nsec());
    let changed = (found.ctime(), found.ctime_nsec());
    (found.dev(), found.ino(), found.len(), modified, changed)
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut content)?;
    match content.len() as u64 > MAX_BYTES {
        true => Err(invalid("the file is larger than 1 MiB")),
        false => Ok(content),
    }
}

fn read_chain(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let content = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| invalid(&format!("not PEM: {error}")))?;
    match chain.is_empty() {
        true => Err(invalid(
            "no certificate in PEM: `-----BEGIN CERTIFICATE-----` is missing",
        )),
        false => Ok(chain),
    }
}

fn read_key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    let content = read(path)?;
    let key = PrivateKeyDer::pem_slice_iter(&content).next();
    // Errors of the parser may contain lines of the file, which is secret.
    let key = key.and_then(Result::ok);
    key.ok_or_else(|| {
        let text = String::from_utf8_lossy(&content);
        match text.contains("ENCRYPTED") {
            true => invalid("the key is encrypted; a key without a passphrase is needed"),
            false => invalid("no private key in PEM: `-----BEGIN PRIVATE KEY-----` is missing"),
        }
    })
}

/// Validity of a certificate at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validity {
    Valid,
    NotYet,
    Expired(UnixTime),
}

/// The validity of a certificate. rustls checks the times of a certificate before anything else; other results are
/// ignored, because only clients know which issuers they trust.
fn validity(certificate: &CertificateDer<'static>, time: UnixTime) -> Validity {
    match verify(certificate, time) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Validity::Expired(not_after)
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })) => {
            Validity::NotYet
        }
        _ => Validity::Valid,
    }
}

fn verify(certificate: &CertificateDer<'static>, time: UnixTime) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let name =
        ServerName::try_from("localhost").map_err(|error| Error::General(error.to_string()))?;
    verifier.verify_server_cert(certificate, &[], &name, &[], time)?;
    Ok(())
}

/// Warns about a certificate that has expired, is not yet valid, or expires soon. It is used nevertheless: clients
/// refuse it, and the running tests need the Director.
fn warn_about_expiry(key: &CertifiedKey) {
    let Some(certificate) = key.cert.first() else {
        return;
    };
    let now = UnixTime::now();
    let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + EXPIRES_SOON);
    match (validity(certificate, now), validity(certificate, soon)) {
        (Validity::Expired(end), _) => {
            tracing::warn!(
                "the certificate in `tls.certificate` expired at {}; clients refuse it",
                text(end)
            );
        }
        (Validity::NotYet, _) => {
            tracing::warn!(
                "the certificate in `tls.certificate` is not valid yet; clients refuse it"
            );
        }
        (Validity::Valid, Validity::Expired(end)) => {
            tracing::warn!(
                "the certificate in `tls.certificate` expires at {}",
                text(end)
            );
        }
        (Validity::Valid, _) => {}
    }
}

fn text(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}

/// The current certificate of a port.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads the files. Blocks the thread.
    ///
    /// # Errors
    /// Names the file and the reason.
    pub fn load(files: Files) -> Result<Arc<Self>, TlsError> {
        let key = files.load()?;
        files.warn_about_mode();
        warn_about_expiry(&key);
        Ok(Arc::new(Self {
            files,
            current: RwLock::new(Arc::new(key)),
        }))
    }

    /// Reads the files again whenever they change, and on each signal; never returns.
    pub async fn watch(self: Arc<Self>, mut signal: Signal) {
        let mut watch = Watch::new(Arc::clone(&self));
        let mut ticks = interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut warned = Instant::now();
        loop {
            let requested = tokio::select! {
                _ = ticks.tick() => false,
                Some(()) = signal.recv() => true,
            };
            let checked = tokio::task::spawn_blocking(move || {
                let check = watch.check(requested);
                (watch, check)
            });
            let check;
            (watch, check) = match checked.await {
                Ok(checked) => checked,
                // The runtime shuts down.
                Err(_) => return,
            };
            match check {
                Check::Unchanged => {}
                Check::Reloaded => {
                    tracing::info!("the certificate in `tls.certificate` was read again")
                }
                Check::Broken(error) => {
                    tracing::warn!("{error}; the previous certificate stays in use");
                }
            }
            if warned.elapsed() >= EXPIRY_INTERVAL {
                warned = Instant::now();
                warn_about_expiry(&self.current());
            }
        }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// TLS of a server with this certificate: TLS 1.2 or newer, HTTP/1.1, no certificates of clients.
///
/// # Errors
/// Never with the built-in cryptography.
pub fn server_config(certificate: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, Error> {
    let provider: Arc<CryptoProvider> = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder =
        builder.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let mut config = builder
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Result of a check of the files.
#[derive(Debug)]
enum Check {
    Unchanged,
    Reloaded,
    Broken(TlsError),
}

/// Follows the files of a certificate.
struct Watch {
    certificate: Arc<Certificate>,
    /// The files that were read last.
    loaded: Stamp,
    /// Files that could not be used, and whether that was reported.
    broken: Option<(Stamp, bool)>,
}

impl Watch {
    fn new(certificate: Arc<Certificate>) -> Self {
        Self {
            // A change since the certificate was read is found by the first check.
            loaded: [None, None],
            broken: None,
            certificate,
        }
    }

    /// Reads the files if they have changed, or on request. Files that cannot be used are reported once, and only if
    /// they are the same at the next check: certificate and key are replaced one after the other.
    fn check(&mut self, requested: bool) -> Check {
        let files = &self.certificate.files;
        let stamp = files.stamp();
        if stamp == self.loaded && !requested {
            self.broken = None;
            return Check::Unchanged;
        }
        match files.load() {
            Ok(key) => {
                files.warn_about_mode();
                self.loaded = stamp;
                self.broken = None;
                self.replace(key, requested)
            }
            Err(error) => {
                let reported = match &self.broken {
                    Some((known, reported)) if *known == stamp => Some(*reported),
                    _ => None,
                };
                let report = requested || reported == Some(false);
                self.broken = Some((stamp, report || reported == Some(true)));
                match report {
                    true => Check::Broken(error),
                    false => Check::Unchanged,
                }
            }
        }
    }

    fn replace(&self, key: CertifiedKey, requested: bool) -> Check {
        let mut current = self
            .certificate
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let is_same = current.cert == key.cert;
        // The key may differ for the same certificate only in its encoding.
        if !is_same {
            warn_about_expiry(&key);
            *current = Arc::new(key);
        }
        match is_same && !requested {
            true => Check::Unchanged,
            false => Check::Reloaded,
        }
    }
}

#[cfg(test)]
mod tests;
