#![allow(clippy::unwrap_used)]

use super::*;
use axum::Extension;
use axum::routing::get;
use rustls::pki_types::PrivateKeyDer;
use std::net::SocketAddr;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::sleep;

const LIMITS: ConnectionLimits = ConnectionLimits {
    total: 4,
    per_client: 3,
};

/// An endpoint that responds with a name and the peer.
fn endpoint(name: &'static str) -> Endpoint {
    let handler = move |Extension(peer): Extension<Peer>| async move { format!("{name} {peer:?}") };
    Endpoint::new(Router::new().route("/", get(handler)), LIMITS)
}

async fn tcp() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The response to a request; `Err` if the connection ends without one.
async fn request(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

async fn over_tcp(address: SocketAddr) -> io::Result<String> {
    request(TcpStream::connect(address).await?).await
}

#[tokio::test]
async fn listeners_are_added_and_closed_while_the_server_runs() {
    let server = Server::new();
    let (first, first_address) = tcp().await;
    let (second, second_address) = tcp().await;
    let shared = endpoint("shared");
    let _first = server.listen(Listener::Plain(first), &shared);
    assert!(
        over_tcp(first_address)
            .await
            .unwrap()
            .contains("shared Tcp")
    );
    let handle = server.listen(Listener::Plain(second), &shared);
    assert!(
        over_tcp(second_address)
            .await
            .unwrap()
            .contains("shared Tcp")
    );
    handle.close();
    while TcpStream::connect(second_address).await.is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(over_tcp(first_address).await.is_ok());
    server.shutdown(|| ()).await;
    assert!(over_tcp(first_address).await.is_err());
}

#[tokio::test]
async fn each_listener_has_its_own_routes_peer_and_limits() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let server = Server::new();
    let (tcp, address) = tcp().await;
    server.listen(Listener::Plain(tcp), &endpoint("main"));
    let socket = UnixListener::bind(&path).unwrap();
    server.listen(Listener::Socket(socket), &endpoint("local"));
    // More connections than the main port allows.
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(TcpStream::connect(address).await.unwrap());
    }
    let stream = UnixStream::connect(&path).await.unwrap();
    let response = request(stream).await.unwrap();
    assert!(response.contains("local Socket { uid: "), "{response}");
}

#[tokio::test]
async fn the_control_socket_accepts_only_its_owner_and_root() {
    let home = tempfile::tempdir().unwrap();
    let own = rustix::process::geteuid().as_raw();
    for (owner, accepted) in [(own, true), (own + 1, own == 0)] {
        let path = home.path().join(owner.to_string());
        let server = Server::new();
        let listener = UnixListener::bind(&path).unwrap();
        server.listen(Listener::Control { listener, owner }, &endpoint("control"));
        let stream = UnixStream::connect(&path).await.unwrap();
        let response = request(stream).await.unwrap_or_default();
        assert_eq!(response.contains("control Control"), accepted, "{response}");
    }
}

/// TLS configurations of a server and a client that trusts it.
fn tls() -> (Arc<ServerConfig>, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

async fn over_tls(
    address: SocketAddr,
    config: &Arc<rustls::ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let name = "localhost".try_into().unwrap();
    connector
        .connect(name, TcpStream::connect(address).await?)
        .await
}

#[tokio::test]
async fn https_and_plain_http_on_one_port() {
    let (config, client) = tls();
    let server = Server::new();
    let (listener, address) = tcp().await;
    server.listen(Listener::Tls(listener, config), &endpoint("secure"));
    let response = request(over_tls(address, &client).await.unwrap()).await;
    assert!(response.unwrap().contains("secure Tcp"));
    let response = over_tcp(address).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(response.contains("this port uses https"), "{response}");
    // Neither TLS nor HTTP: closed.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[0x80, 0, 0, 0, 0, 0]).await.unwrap();
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest));
    assert!(ended.await.is_ok());
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_refused_over_tls_as_over_tcp() {
    let (config, client) = tls();
    let server = Server::new();
    let (listener, address) = tcp().await;
    let never = Router::new().route("/", get(std::future::pending::<()>));
    server.listen(
        Listener::Tls(listener, config),
        &Endpoint::new(never, LIMITS),
    );
    let mut busy = Vec::new();
    for _ in 0..LIMITS.per_client {
        let mut stream = over_tls(address, &client).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        busy.push(stream);
    }
    // The requests are received a moment later; until then a connection may be replaced.
    sleep(Duration::from_millis(200)).await;
    let mut refused = over_tls(address, &client).await.unwrap();
    let mut response = String::new();
    refused.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
}

#[tokio::test]
async fn an_incomplete_handshake_is_replaced_as_an_incomplete_request_is() {
    let (config, client) = tls();
    let server = Server::new();
    let (listener, address) = tcp().await;
    server.listen(Listener::Tls(listener, config), &endpoint("secure"));
    let mut halves = Vec::new();
    for _ in 0..20 {
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(&[0x16, 3, 1]).await.unwrap();
        halves.push(half);
    }
    let response = request(over_tls(address, &client).await.unwrap()).await;
    assert!(response.unwrap().contains("secure Tcp"));
    let mut end = [0];
    let first = timeout(Duration::from_secs(5), halves[0].read(&mut end));
    assert!(matches!(first.await.unwrap(), Ok(0) | Err(_)), "replaced");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_handshakes_and_heads() {
    let (config, _) = tls();
    let server = Server::new();
    let (listener, address) = tcp().await;
    server.listen(Listener::Tls(listener, config), &endpoint("secure"));
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(&[0x16, 3, 1]).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let shutdown = timeout(GRACE / 2, server.shutdown(|| ()));
    assert!(shutdown.await.is_ok());
}
