//! Tests of the port for carriers.

use super::{Home, assert_stderr, get};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

/// The chosen port for carriers.
fn node_port(home: &Home) -> u16 {
    let text = fs::read_to_string(home.path("data/node-port")).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn the_start_is_refused_if_the_port_for_carriers_is_in_use() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = home
        .command(&[])
        .env("ATQ_NODE_PORT", port.to_string())
        .output()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    assert_stderr(
        &output,
        1,
        &[
            "cannot listen for carriers",
            &address,
            "`nodePort`",
            "`nodeBind`",
        ],
    );
}

#[test]
fn port_and_authority_are_private_and_stay_over_a_restart() {
    let home = Home::new();
    let file = |name: &str| fs::read_to_string(home.path(name)).unwrap();
    let before = {
        let _serving = home.serve();
        (node_port(&home), file("data/node-ca.pem"))
    };
    for name in ["data/node-port", "data/node-ca.pem"] {
        let mode = fs::metadata(home.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let _serving = home.serve();
    assert_eq!((node_port(&home), file("data/node-ca.pem")), before);
    assert!(!home.log().contains("PRIVATE KEY"));
}

#[test]
fn the_port_for_carriers_uses_tls_only() {
    let home = Home::new();
    let _serving = home.serve();
    let stream = TcpStream::connect(("127.0.0.1", node_port(&home))).unwrap();
    let answer = get(stream, "/carrier/ready").unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("https_required"), "{answer}");
    // The main port has no paths for carriers.
    let answer = get(home.connect(), "/carrier/ready").unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn an_advertised_url_of_an_earlier_version_is_accepted_with_a_warning() {
    let home = Home::with_config("advertiseUrl: http://10.0.0.1:8080\n");
    let _serving = home.serve();
    let expected = format!("using `https://10.0.0.1:{}`", node_port(&home));
    let log = home.log();
    assert!(log.contains(&expected), "{log}");
    assert!(
        log.contains("`advertiseUrl` is `http://10.0.0.1:8080`"),
        "{log}"
    );
}
