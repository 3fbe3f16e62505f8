//! The listeners of the program: Unix sockets, TLS, and the limits of each.

use super::{Home, assert_stderr, get};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PING: &str = "/monitoring/ping";
/// A request whose body is incomplete: its connection is busy, so it is not replaced.
const HALF_A_REQUEST: &str = "PUT /task HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";

/// The response to a GET over a socket. Any host is accepted there.
fn over_socket(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let head = "HTTP/1.1\r\nhost: any.example\r\nconnection: close";
    write!(stream, "GET {path} {head}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn assert_ok(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// A group that this process may set, and that new files do not have if possible.
fn other_group(home: &Home) -> u32 {
    match rustix::process::geteuid().is_root() {
        true => 54_321,
        false => fs::metadata(home.path("")).unwrap().gid(),
    }
}

#[test]
fn the_socket_has_its_mode_and_group_and_is_removed_at_the_end() {
    let home = Home::with_config("socket: HOME/atq.sock\n");
    let path = home.path("atq.sock");
    let group = other_group(&home);
    let config = home.path("controller-config.yaml");
    let mut text = fs::read_to_string(&config).unwrap();
    text.push_str(&format!("socketGroup: \"{group}\"\n"));
    fs::write(&config, text).unwrap();

    let serving = home.serve();
    let found = fs::metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    assert_eq!(found.gid(), group);
    assert_ok(&over_socket(&path, "/task"));
    // A proxy in front of the socket could forward the requests of browsers.
    let mut stream = UnixStream::connect(&path).unwrap();
    let head = "POST /task/x/stop HTTP/1.1\r\nhost: any.example\r\norigin: http://evil.example";
    write!(stream, "{head}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    serving.terminate();
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_used_one_refuses_the_start() {
    let home = Home::with_config("socket: HOME/atq.sock\n");
    let path = home.path("atq.sock");
    drop(UnixListener::bind(&path).unwrap());
    let killed = home.serve();
    // SIGKILL: the files of both sockets stay.
    drop(killed);
    assert!(path.exists() && home.path("data/control.sock").exists());
    let serving = home.serve();
    assert_ok(&over_socket(&path, PING));
    assert_ok(&over_socket(&home.path("data/control.sock"), PING));

    let other = Home::with_config(&format!("socket: {}\n", path.display()));
    let refused = other.run(&[]);
    assert_stderr(&refused, 1, &["another process listens on it", "`socket`"]);
    assert_ok(&over_socket(&path, PING));
    serving.terminate();

    fs::write(&path, "mine").unwrap();
    assert_stderr(&home.run(&[]), 1, &["is not a socket"]);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let home = Home::with_config("socket: HOME/none/atq.sock\n");
    assert_stderr(&home.run(&[]), 1, &["/none` does not exist"]);
}

#[test]
fn an_unknown_group_and_a_long_path_are_faults_of_the_configuration() {
    let home = Home::with_config("socket: HOME/atq.sock\nsocketGroup: no-such-group\n");
    for args in [&[][..], &["config", "check"]] {
        assert_stderr(
            &home.run(args),
            2,
            &["`socketGroup` must be a group of this machine"],
        );
    }
    let long = "s".repeat(120);
    let home = Home::with_config(&format!("socket: HOME/{long}\n"));
    assert_stderr(
        &home.run(&["config", "check"]),
        2,
        &["`socket` must have at most 107 bytes"],
    );
}

#[test]
fn the_control_socket_is_always_there_for_its_owner_only() {
    let home = Home::new();
    let serving = home.serve();
    let path = home.path("data/control.sock");
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    assert_ok(&over_socket(&path, "/task"));
    serving.terminate();
    assert!(!path.exists());
}

#[test]
fn the_control_socket_works_in_a_directory_with_a_long_name() {
    let home = Home::new();
    let long = format!("{}/{}", "d".repeat(100), "e".repeat(100));
    fs::create_dir_all(home.path(&long)).unwrap();
    let config = home.path("controller-config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("/data\n", &format!("/{long}\n"))).unwrap();
    let serving = home.serve();
    let path = home.path(&long).join("control.sock");
    let address = atq_director::sockets::Address::of(&path).unwrap();
    assert_ok(&over_socket(address.path(), PING));
    serving.terminate();
    assert!(!path.exists());
}

#[test]
fn a_full_main_port_does_not_lock_out_the_sockets() {
    let home = Home::with_config("socket: HOME/atq.sock\n");
    let _serving = home.serve_with(256);
    let mut busy = Vec::new();
    let begun = Instant::now();
    loop {
        let mut stream = home.connect();
        stream.write_all(HALF_A_REQUEST.as_bytes()).unwrap();
        busy.push(stream);
        let answer = get(home.connect(), PING).unwrap_or_default();
        if !answer.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(25), "never full");
    }
    for path in [home.path("atq.sock"), home.path("data/control.sock")] {
        for _ in 0..20 {
            assert_ok(&over_socket(&path, PING));
        }
    }
}

/// A CA and the certificates that it issues.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a new certificate for `localhost` and its key to a directory.
    fn issue(&self, directory: &Path) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("tls.crt"), certificate.pem()).unwrap();
        fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
        fs::set_permissions(directory.join("tls.key"), fs::Permissions::from_mode(0o600)).unwrap();
        certificate.der().clone()
    }

    /// A client that trusts the CA.
    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

const TLS_KEYS: &str = "tls:\n  certificate: HOME/tls.crt\n  key: HOME/tls.key\n";

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection after its handshake.
fn over_tls(home: &Home, config: &Arc<ClientConfig>) -> io::Result<Tls> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = home.connect();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// The certificate of the server.
fn presented(home: &Home, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let stream = over_tls(home, config).unwrap();
    stream.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

#[test]
fn the_main_port_uses_tls_from_1_2_on_and_names_https() {
    let ca = Ca::new();
    let home = Home::with_config(TLS_KEYS);
    let issued = ca.issue(&home.path(""));
    let _serving = home.serve();
    assert!(
        home.log().contains("listening on https://"),
        "{}",
        home.log()
    );
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = (*ca.client(&[version])).clone();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = over_tls(&home, &Arc::new(config)).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(stream.conn.peer_certificates().unwrap()[0], issued);
        let answer = get(stream, PING).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    }
    // The sockets have no TLS.
    assert_ok(&over_socket(&home.path("data/control.sock"), PING));
}

#[test]
fn http_without_tls_gets_an_answer_that_names_https() {
    let ca = Ca::new();
    let home = Home::with_config(TLS_KEYS);
    ca.issue(&home.path(""));
    let _serving = home.serve();
    let answer = home.get(PING);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("this port uses https"), "{answer}");
}

#[test]
fn tls_on_a_port_without_tls_is_logged() {
    let home = Home::new();
    let mut command = home.command(&[]);
    command.env("ATQ_LOG", "debug");
    let _serving = home.served_by(command);
    over_tls(&home, &Ca::new().client(rustls::ALL_VERSIONS)).unwrap_err();
    home.until_logged("a client sent a TLS handshake to a port that uses http");
}

#[test]
fn a_faulty_certificate_or_key_is_a_fault_of_the_configuration() {
    let ca = Ca::new();
    let home = Home::with_config(TLS_KEYS);
    let missing = [
        "`tls.certificate` cannot be used: `",
        "tls.crt`",
        "No such file",
    ];
    for args in [&[][..], &["config", "check"]] {
        assert_stderr(&home.run(args), 2, &missing);
    }
    ca.issue(&home.path(""));
    let output = home.run(&["config", "check"]);
    assert_stderr(&output, 0, &[]);
    ca.issue(&home.path("other"));
    fs::copy(home.path("other/tls.key"), home.path("tls.key")).unwrap();
    let mismatch = ["`tls.key` cannot be used: `", "tls.key`", "does not belong"];
    assert_stderr(&home.run(&["config", "check"]), 2, &mismatch);
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let ca = Ca::new();
    let home = Home::with_config(TLS_KEYS);
    let first = ca.issue(&home.path("one"));
    // Links to links, as in volumes of Kubernetes.
    let link = |target: &str| {
        symlink(target, home.path("next")).unwrap();
        fs::rename(home.path("next"), home.path("current")).unwrap();
    };
    link("one");
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("current").join(file), home.path(file)).unwrap();
    }
    let serving = home.serve();
    let client = ca.client(rustls::ALL_VERSIONS);
    assert_eq!(presented(&home, &client), first);
    let mut open = over_tls(&home, &client).unwrap();

    let second = ca.issue(&home.path("two"));
    link("two");
    home.until_logged("was read again");
    assert_eq!(presented(&home, &client), second);

    fs::create_dir(home.path("three")).unwrap();
    fs::write(home.path("three/tls.crt"), "no certificate").unwrap();
    fs::write(home.path("three/tls.key"), "no key").unwrap();
    link("three");
    serving.signal(Signal::HUP);
    home.until_logged("the previous certificate stays in use");
    assert_eq!(presented(&home, &client), second);

    let fourth = ca.issue(&home.path("four"));
    link("four");
    serving.signal(Signal::HUP);
    let begun = Instant::now();
    while presented(&home, &client) != fourth {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", home.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    // Connections that were open continue.
    write!(open, "GET {PING} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut start = [0; 12];
    open.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    serving.terminate();
}

/// Allows this process to open many connections.
fn raise_own_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

#[test]
fn a_thousand_incomplete_handshakes_do_not_block_others_and_are_closed() {
    raise_own_limit();
    let ca = Ca::new();
    let home = Home::with_config(TLS_KEYS);
    ca.issue(&home.path(""));
    let _serving = home.serve_with(256);
    let client = ca.client(rustls::ALL_VERSIONS);
    let mut halves = Vec::new();
    for number in 0..1000 {
        let mut half = home.connect();
        // Half of them send nothing at all.
        if number % 2 == 0 {
            half.write_all(&[0x16, 3, 1, 2, 0]).unwrap();
        }
        halves.push(half);
    }
    for _ in 0..10 {
        let stream = over_tls(&home, &client).unwrap();
        let answer = get(stream, PING).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    assert_ok(&over_socket(&home.path("data/control.sock"), PING));
    assert!(!home.log().contains("cannot accept"), "{}", home.log());
    // The last ones are closed by the timeout of a head.
    let begun = Instant::now();
    for half in &mut halves {
        let limit = Duration::from_secs(20).saturating_sub(begun.elapsed());
        half.set_read_timeout(Some(limit.max(Duration::from_millis(1))))
            .unwrap();
        let ended = half.read(&mut [0]);
        let is_closed = !matches!(&ended, Ok(1..))
            && !matches!(&ended, Err(e) if e.kind() == ErrorKind::WouldBlock);
        assert!(is_closed, "{ended:?}");
        let _ = half.shutdown(Shutdown::Both);
    }
}

#[test]
fn connections_of_an_address_are_limited_with_tls_as_without() {
    raise_own_limit();
    let ca = Ca::new();
    let home = Home::with_config(TLS_KEYS);
    ca.issue(&home.path(""));
    let _serving = home.serve_with(256);
    let client = ca.client(rustls::ALL_VERSIONS);
    let mut busy = Vec::new();
    let refused = loop {
        let mut stream = over_tls(&home, &client).unwrap();
        stream.write_all(HALF_A_REQUEST.as_bytes()).unwrap();
        busy.push(stream);
        let mut other = over_tls(&home, &client).unwrap();
        write!(
            other,
            "GET {PING} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = [0; 12];
        other.read_exact(&mut answer).unwrap();
        if &answer != b"HTTP/1.1 200" {
            break answer;
        }
        assert!(busy.len() < 256, "never refused");
    };
    assert_eq!(&refused, b"HTTP/1.1 503");
    // Three quarters of the connections of the main port.
    assert!(busy.len() > 50, "{}", busy.len());
}
