//! Reads the public keys of an issuer from a URL or a file.

use crate::config::KeyLocation;
use async_trait::async_trait;
use reqwest::{Certificate, Client, redirect};
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Timeout of a request or of reading a file.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a set of keys in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Reads the keys of an issuer. Replaceable in tests.
#[async_trait]
pub(super) trait Fetch: Send + Sync {
    /// The JSON Web Key Set, or the PEM file; else the reason.
    async fn fetch(&self) -> Result<Vec<u8>, String>;
}

#[async_trait]
impl Fetch for KeyLocation {
    async fn fetch(&self) -> Result<Vec<u8>, String> {
        let read = async {
            match self {
                Self::Url { url, ca } => get(url, ca.clone()).await,
                Self::File(path) => read_file(path.clone()).await,
            }
        };
        let late = |_| Err(format!("no answer within {} s", TIMEOUT.as_secs()));
        tokio::time::timeout(TIMEOUT, read)
            .await
            .unwrap_or_else(late)
    }
}

async fn get(url: &str, ca: Option<PathBuf>) -> Result<Vec<u8>, String> {
    let more = match ca {
        Some(path) => certificates(read_file(path).await?)?,
        None => Vec::new(),
    };
    let client = client(url, more).map_err(|error| root_cause(&error))?;
    let response = client.get(url).send().await;
    let mut response = response.map_err(|error| root_cause(&error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("the answer is {status}"));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| root_cause(&error))? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Uses no proxy and follows no redirect: the keys come from the configured host, or not at all. The machine's
/// certificates are read for `https` only, because they may be missing.
fn client(url: &str, more: Vec<Certificate>) -> Result<Client, reqwest::Error> {
    // Only one provider is compiled in; an error means that it is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .no_proxy()
        .dns_resolver(atq_resolver::SystemResolver)
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none());
    match url.starts_with("https:") {
        true => builder.https_only(true).tls_certs_merge(more).build(),
        false => builder.tls_certs_only(more).build(),
    }
}

fn certificates(pem: Vec<u8>) -> Result<Vec<Certificate>, String> {
    let certificates = Certificate::from_pem_bundle(&pem)
        .map_err(|error| format!("the file `ca` is not PEM: {}", root_cause(&error)))?;
    match certificates.is_empty() {
        true => Err("the file `ca` has no certificate".to_owned()),
        false => Ok(certificates),
    }
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, String> {
    let read =
        move || read_bounded(&path).map_err(|error| format!("`{}`: {error}", path.display()));
    let bytes = tokio::task::spawn_blocking(read).await;
    let bytes = bytes.map_err(|error| error.to_string())??;
    match bytes.len() > MAX_BYTES {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

/// At most one byte more than allowed.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn too_large() -> String {
    format!("larger than {MAX_BYTES} bytes")
}

/// The text of the root cause of an error: "connection refused" instead of "error sending request".
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use std::io::Write;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// The URL of a server that answers each request with this text, in portions, and then keeps the connection open.
    async fn serve(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let _ = connection.read(&mut head).await;
                    for portion in answer.chunks(60_000) {
                        if connection.write_all(portion).await.is_err() {
                            return;
                        }
                    }
                    tokio::time::sleep(Duration::from_secs(60)).await;
                });
            }
        });
        format!("http://{address}/jwks")
    }

    fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n");
        format!("{head}{body}").into_bytes()
    }

    async fn fetch(url: String) -> Result<Vec<u8>, String> {
        KeyLocation::Url { url, ca: None }.fetch().await
    }

    #[tokio::test]
    async fn keys_are_read_from_a_url() {
        let url = serve(answer("200 OK", "", "{\"keys\": []}")).await;
        assert_eq!(fetch(url).await.unwrap(), b"{\"keys\": []}");
    }

    #[tokio::test]
    async fn errors_and_redirects_are_not_keys() {
        let url = serve(answer("404 Not Found", "", "{}")).await;
        assert_eq!(fetch(url).await.unwrap_err(), "the answer is 404 Not Found");
        let elsewhere = serve(answer("200 OK", "", "{\"keys\": []}")).await;
        let location = format!("location: {elsewhere}\r\n");
        let url = serve(answer("302 Found", &location, "")).await;
        assert_eq!(fetch(url).await.unwrap_err(), "the answer is 302 Found");
        let refused = fetch("http://127.0.0.1:1/jwks".to_owned()).await;
        assert!(refused.unwrap_err().contains("refused"));
    }

    #[tokio::test]
    async fn an_answer_is_bounded_whether_its_length_is_announced_or_not() {
        let large = "x".repeat(MAX_BYTES + 1);
        let url = serve(answer("200 OK", "", &large)).await;
        assert_eq!(fetch(url).await.unwrap_err(), too_large());
        let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{large}");
        let url = serve(endless.into_bytes()).await;
        assert_eq!(fetch(url).await.unwrap_err(), too_large());
    }

    #[tokio::test]
    async fn a_silent_issuer_is_given_five_seconds() {
        let url = serve(Vec::new()).await;
        let start = std::time::Instant::now();
        assert!(fetch(url).await.is_err());
        let time = start.elapsed().as_secs();
        assert!((4..9).contains(&time), "{time}");
    }

    /// The URL of an HTTPS server with a certificate of a CA, and the CA in PEM.
    fn serve_tls(answer: Vec<u8>) -> (String, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = authority.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(authority, key);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = own.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let server = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(server, connection.unwrap());
                // A client that does not trust the certificate ends the handshake.
                if stream.read(&mut [0; 4096]).is_ok() {
                    let _ = stream.write_all(&answer).and_then(|()| stream.flush());
                }
            }
        });
        (format!("https://localhost:{port}/jwks"), ca)
    }

    #[tokio::test]
    async fn the_certificate_of_an_issuer_is_verified_with_the_configured_ca() {
        let (url, ca) = serve_tls(answer("200 OK", "", "{\"keys\": []}"));
        let (_, other) = serve_tls(Vec::new());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let with_ca = |pem: &str| {
            std::fs::write(&file, pem).unwrap();
            let (url, ca) = (url.clone(), Some(file.clone()));
            async move { KeyLocation::Url { url, ca }.fetch().await }
        };
        assert_eq!(with_ca(&ca).await.unwrap(), b"{\"keys\": []}");
        let refused = with_ca(&other).await.unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
        assert!(fetch(url.clone()).await.is_err());
    }

    #[tokio::test]
    async fn https_is_not_replaced_by_http_and_a_faulty_ca_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        let url = serve(answer("200 OK", "", "{\"keys\": []}")).await;
        let url = url.replace("http:", "https:");
        for (text, reason) in [("x", "has no certificate"), ("", "has no certificate")] {
            std::fs::write(&ca, text).unwrap();
            let ca = Some(ca.clone());
            let error = KeyLocation::Url {
                url: url.clone(),
                ca,
            }
            .fetch()
            .await;
            assert!(error.clone().unwrap_err().contains(reason), "{error:?}");
        }
        assert!(fetch(url).await.is_err());
    }

    #[tokio::test]
    async fn keys_are_read_from_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys");
        let location = KeyLocation::File(file.clone());
        let missing = location.fetch().await.unwrap_err();
        assert!(missing.contains("keys`: No such file"), "{missing}");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(location.fetch().await.unwrap(), b"abc");
        std::fs::write(&file, vec![0; MAX_BYTES + 1]).unwrap();
        assert_eq!(location.fetch().await.unwrap_err(), too_large());
    }
}
