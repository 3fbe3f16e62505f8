#![allow(clippy::unwrap_used)]

use super::*;
use crate::director::Director;
use crate::exit::Exit;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

/// Self-signed, marked as an authority, for `localhost`; valid for 100 years from 2026.
const LOCALHOST: &[u8] = include_bytes!("tests/localhost.pem");
const KEY: &[u8] = include_bytes!("tests/localhost.key");
/// Another of this kind, for `other.test`.
const OTHER: &[u8] = include_bytes!("tests/other.pem");

fn trust(pem: &[u8]) -> Result<Trust, CliError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    Trust::read(file.path())
}

fn verified(trusted: &[u8], host: &str, year: u64) -> Result<(), Error> {
    let Trust(trusted) = trust(trusted).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let chains = chains.build().unwrap();
    let certificate = CertificateDer::from_pem_slice(LOCALHOST).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600));
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let verifier = Verifier { chains, trusted };
    verifier
        .verify_server_cert(&certificate, &[], &host, &[], now)
        .map(drop)
}

#[test]
fn a_trusted_self_signed_certificate_is_valid_for_its_names_and_dates() {
    assert_eq!(verified(LOCALHOST, "localhost", 2028), Ok(()));
    assert_eq!(verified(LOCALHOST, "127.0.0.1", 2028), Ok(()));
    assert!(verified(OTHER, "localhost", 2028).is_err());
    let error = |trusted, host, year| verified(trusted, host, year).unwrap_err().to_string();
    assert!(error(LOCALHOST, "director.test", 2028).contains("not valid for"));
    assert!(error(LOCALHOST, "localhost", 2200).contains("expired"));
    assert!(error(LOCALHOST, "localhost", 2000).contains("not valid yet"));
}

#[test]
fn a_file_without_certificates_is_an_error() {
    for (pem, why) in [
        (&b""[..], "no certificate"),
        (KEY, "no certificate"),
        (b"\x30\x82", "no certificate"),
    ] {
        let error = trust(pem).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.exit(), Exit::Usage);
    }
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = trust(broken).unwrap_err().to_string();
    assert!(error.contains("invalid certificate"), "{error}");
}

/// Starts a server with this certificate that responds `pong`; returns its port.
fn server() -> u16 {
    let certificate = CertificateDer::from_pem_slice(LOCALHOST).unwrap();
    serve(
        vec![certificate],
        PrivateKeyDer::from_pem_slice(KEY).unwrap(),
    )
}

/// Starts a server with this chain.
fn serve(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            // A client that does not trust the certificate disconnects; one that does not use TLS gets an alert.
            if stream.read(&mut [0; 1024]).is_ok() {
                let answer =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n\"pong\"";
                let _ = stream.write_all(answer);
            }
        }
    });
    port
}

async fn asked(url: &str, trust: &Trust) -> Result<String, CliError> {
    Director::trusting(url, trust)?.get("monitoring/ping").await
}

#[tokio::test]
async fn a_director_with_a_self_signed_certificate_is_reached_or_explained() {
    let port = server();
    let url = format!("https://localhost:{port}");
    let trusting = trust(LOCALHOST).unwrap();
    assert_eq!(asked(&url, &trusting).await.unwrap(), "pong");
    let error = asked(&url, &trust(OTHER).unwrap()).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(error.to_string().contains("self-signed"), "{error}");
    assert!(error.hint().contains("--ca FILE"), "{}", error.hint());
    assert!(!crate::retry::is_temporary(&error));
}

#[tokio::test]
async fn a_server_without_tls_is_explained() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream
                .unwrap()
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = asked(&url, &trust(LOCALHOST).unwrap()).await.unwrap_err();
    assert!(
        error.hint().contains("http://"),
        "{error}: {}",
        error.hint()
    );
}

mod handshakes {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
        date_time_ymd,
    };

    /// An authority of the tests.
    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        pem: String,
    }

    impl Authority {
        fn new() -> Self {
            Self::named("CA of the tests")
        }

        fn named(name: &str) -> Self {
            let mut params = CertificateParams::new([]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem();
            let issuer = Issuer::new(params, key);
            Self { issuer, pem }
        }

        fn trust(&self) -> Trust {
            trust(self.pem.as_bytes()).unwrap()
        }

        /// Starts a server with a certificate for `name`, valid in these years.
        fn serve(&self, name: &str, years: (i32, i32)) -> u16 {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.not_before = date_time_ymd(years.0, 1, 1);
            params.not_after = date_time_ymd(years.1, 1, 1);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            serve(vec![certificate.der().clone()], key)
        }
    }

    /// The error of a request to a server with this certificate, with its hint.
    async fn refused(url: &str, trust: &Trust) -> (String, String) {
        let error = asked(url, trust).await.unwrap_err();
        assert!(matches!(error, CliError::Untrusted { .. }), "{error:?}");
        assert_eq!(error.exit(), Exit::Unreachable);
        assert!(!crate::retry::is_temporary(&error));
        (error.to_string(), error.hint().to_owned())
    }

    const NOW: (i32, i32) = (2000, 2100);

    #[tokio::test]
    async fn a_certificate_of_a_trusted_authority_is_accepted() {
        let authority = Authority::new();
        let port = authority.serve("localhost", NOW);
        let url = format!("https://localhost:{port}");
        assert_eq!(asked(&url, &authority.trust()).await.unwrap(), "pong");
    }

    #[tokio::test]
    async fn an_unknown_authority_is_reported() {
        let port = Authority::new().serve("localhost", NOW);
        let other = Authority::named("another CA").trust();
        let (text, hint) = refused(&format!("https://localhost:{port}"), &other).await;
        assert!(text.contains("its CA is unknown"), "{text}");
        assert!(hint.contains("`--ca FILE`"), "{hint}");
    }

    #[tokio::test]
    async fn an_authority_that_was_replaced_is_reported() {
        let port = Authority::new().serve("localhost", NOW);
        let old = Authority::new().trust();
        let (text, hint) = refused(&format!("https://localhost:{port}"), &old).await;
        assert!(text.contains("signed by another CA"), "{text}");
        assert!(hint.contains("was the CA replaced?"), "{hint}");
    }

    #[tokio::test]
    async fn a_certificate_for_another_host_is_reported() {
        let authority = Authority::new();
        let port = authority.serve("director.example.com", NOW);
        let (text, hint) = refused(&format!("https://localhost:{port}"), &authority.trust()).await;
        assert!(
            text.contains("is for another host") && text.contains("director.example.com"),
            "{text}"
        );
        assert!(hint.contains("subject alternative names"), "{hint}");
    }

    #[tokio::test]
    async fn an_expired_certificate_and_one_of_the_future_are_reported() {
        let authority = Authority::new();
        for (years, expected) in [
            ((2000, 2001), "has expired"),
            ((2100, 2101), "not valid yet"),
        ] {
            let port = authority.serve("localhost", years);
            let url = format!("https://localhost:{port}");
            let (text, hint) = refused(&url, &authority.trust()).await;
            assert!(text.contains(expected), "{text}");
            assert!(hint.contains("clock"), "{hint}");
        }
    }

    #[tokio::test]
    async fn http_on_a_port_with_tls_is_reported() {
        let port = Authority::new().serve("localhost", NOW);
        let url = format!("http://localhost:{port}");
        let (text, hint) = refused(&url, &Trust::default()).await;
        assert!(text.contains("does not answer in HTTP"), "{text}");
        assert!(hint.contains("`https://`"), "{hint}");
    }

    #[tokio::test]
    async fn https_on_a_port_without_tls_is_reported() {
        let routes = axum::Router::new().fallback(|| async { "\"pong\"" });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let url = format!("https://localhost:{port}");
        let (text, hint) = refused(&url, &Authority::new().trust()).await;
        assert!(text.contains("does not use TLS"), "{text}");
        assert!(hint.contains("`http://`"), "{hint}");
    }
}
