#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::ConnectionLimits;
use axum::Router;
use axum::routing::get;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const LIMITS: ConnectionLimits = ConnectionLimits {
    total: 10,
    per_client: 10,
};

fn config(home: &Path, more: &str) -> Config {
    let home = home.display();
    let text = format!("port: 0\nglusterpath: {home}/bundles\ndatadir: {home}\n{more}");
    Config::parse(&text, |_| None).unwrap()
}

/// A port that serves `hello`, on the first address.
async fn started(config: &Config) -> NodePort {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let port = NodePort::new(config).unwrap();
    let router = Router::new().route("/", get(async || "hello"));
    let endpoint = Endpoint::new(router, LIMITS);
    port.start(Server::new(), endpoint).await.unwrap();
    port
}

/// The response of a client that trusts only `certificate`.
async fn request(url: &str, certificate: &str) -> Result<String, String> {
    let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([certificate])
        .build()
        .unwrap();
    let response = client.get(url).send().await;
    match response {
        Ok(response) => Ok(response.text().await.unwrap()),
        Err(error) => Err(format!("{error:?}")),
    }
}

#[tokio::test]
async fn the_certificate_of_the_orders_is_the_only_one_that_proves_the_director() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = started(&config(home.path(), "")).await;
    let number = port.number();
    assert_ne!(number, 0);
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{number}/");
        let answer = request(&url, port.certificate()).await;
        assert_eq!(answer.as_deref(), Ok("hello"), "{host}");
    }
    let foreign = Authority::open(other.path()).unwrap();
    let url = format!("https://127.0.0.1:{number}/");
    let refused = request(&url, foreign.certificate()).await.unwrap_err();
    assert!(
        refused.contains("UnknownIssuer") || refused.contains("BadSignature"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_address_is_opened_once_and_is_then_part_of_the_certificate() {
    let home = tempfile::tempdir().unwrap();
    let port = started(&config(home.path(), "")).await;
    let added: IpAddr = "127.0.0.7".parse().unwrap();
    let url = format!("https://127.0.0.7:{}/", port.number());
    assert!(request(&url, port.certificate()).await.is_err());
    let expected = SocketAddr::new(added, port.number());
    for _ in 0..2 {
        assert_eq!(port.open(added).await, Ok(expected));
    }
    let answer = request(&url, port.certificate()).await;
    assert_eq!(answer.as_deref(), Ok("hello"));
    // Listens already on all addresses; only the certificate changes.
    let home = tempfile::tempdir().unwrap();
    let port = started(&config(home.path(), "nodeBind: 0.0.0.0\n")).await;
    let url = format!("https://127.0.0.7:{}/", port.number());
    let refused = request(&url, port.certificate()).await.unwrap_err();
    assert!(refused.contains("NotValidForName"), "{refused}");
    port.open(added).await.unwrap();
    let answer = request(&url, port.certificate()).await;
    assert_eq!(answer.as_deref(), Ok("hello"));
}

#[tokio::test]
async fn the_host_of_the_advertised_url_is_part_of_the_certificate() {
    let home = tempfile::tempdir().unwrap();
    let more = "advertiseUrl: http://director.example:8080\n";
    let port = started(&config(home.path(), more)).await;
    let certificate = reqwest::Certificate::from_pem(port.certificate().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([certificate])
        .resolve("director.example", ([127, 0, 0, 1], port.number()).into())
        .build()
        .unwrap();
    let url = format!("https://director.example:{}/", port.number());
    let answer = client.get(url).send().await.unwrap().text().await;
    assert_eq!(answer.unwrap(), "hello");
}

#[tokio::test]
async fn authority_and_port_survive_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let config = config(home.path(), "");
    let certificate = {
        let first = Authority::open(home.path()).unwrap();
        first.certificate().to_owned()
    };
    let mode = fs::metadata(home.path().join("node-ca.pem")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let (listener, number) = {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let number = port.local_addr().unwrap().port();
        (port, number)
    };
    drop(listener);
    fs::write(home.path().join("node-port"), format!("{number}\n")).unwrap();
    let port = started(&config).await;
    assert_eq!(port.number(), number);
    let url = format!("https://127.0.0.1:{number}/");
    assert_eq!(request(&url, &certificate).await.as_deref(), Ok("hello"));
    // The port is in use now: another one is chosen and stored.
    let second = started(&config).await;
    assert_ne!(second.number(), number);
    let stored = fs::read_to_string(home.path().join("node-port")).unwrap();
    assert_eq!(stored, format!("{}\n", second.number()));
}

#[tokio::test]
async fn without_a_configured_port_one_in_use_is_replaced_and_the_new_one_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = taken.local_addr().unwrap().port();
    let path = home.path().display();
    let main = number - 1;
    let text = format!("port: {main}\nglusterpath: {path}/b\ndatadir: {path}\n");
    let config = Config::parse(&text, |_| None).unwrap();
    let chosen = {
        let port = started(&config).await;
        assert_ne!(port.number(), number);
        port.number()
    };
    let stored = fs::read_to_string(home.path().join("node-port")).unwrap();
    assert_eq!(stored, format!("{chosen}\n"));
}

#[test]
fn a_damaged_authority_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("node-ca.pem");
    let first = Authority::open(home.path())
        .unwrap()
        .certificate()
        .to_owned();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("PRIVATE KEY") && text.ends_with(&first));
    let again = Authority::open(home.path()).unwrap();
    assert_eq!(again.certificate(), first);
    let secret = again.derive("run");
    let third = Authority::open(home.path()).unwrap();
    assert_eq!((third.derive("run"), secret.len()), (secret.clone(), 64));
    assert_ne!(third.derive("other"), secret);
    let other = tempfile::tempdir().unwrap();
    let foreign = Authority::open(other.path())
        .unwrap()
        .certificate()
        .to_owned();
    let key = text.strip_suffix(&first).unwrap();
    for damaged in ["", "x", key, &first, &format!("{key}{foreign}")] {
        fs::write(&file, damaged).unwrap();
        let replaced = Authority::open(home.path()).unwrap();
        assert_ne!(replaced.certificate(), first);
        assert_ne!(replaced.certificate(), foreign);
        assert_ne!(replaced.derive("run"), secret);
        let stored = fs::read_to_string(&file).unwrap();
        assert!(stored.ends_with(replaced.certificate()));
    }
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_is_named_with_its_keys() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = taken.local_addr().unwrap().port();
    let config = config(home.path(), &format!("nodePort: {number}\n"));
    let port = NodePort::new(&config).unwrap();
    let early = port.open([127, 0, 0, 1].into()).await.unwrap_err();
    assert_eq!(early, "the Director does not listen for carriers yet");
    let endpoint = Endpoint::new(Router::new(), LIMITS);
    let refused = port.start(Server::new(), endpoint).await.unwrap_err();
    let expected = format!(
        "cannot listen for carriers on 127.0.0.1:{number} (`nodePort` and `nodeBind` of the configuration): Address already in use"
    );
    assert_eq!(refused.to_string(), expected);
    drop(taken);
    let endpoint = Endpoint::new(Router::new(), LIMITS);
    port.start(Server::new(), endpoint).await.unwrap();
    // An address of another machine (TEST-NET-1).
    let foreign = port.open([192, 0, 2, 1].into()).await.unwrap_err();
    assert!(
        foreign.contains("Cannot assign requested address"),
        "{foreign}"
    );
}
