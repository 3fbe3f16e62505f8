//! TLS and credentials.

use crate::harness::Generator;
use crate::mosquitto::{Mosquitto, program};
use crate::mosquitto_or_skip;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::process::Command;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key for a name.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn broker(&self, name: &str) -> Option<Mosquitto> {
        let program = program("mosquitto")?;
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = self.issue(name);
        std::fs::write(dir.path().join("server.pem"), certificate).unwrap();
        std::fs::write(dir.path().join("server.key"), key).unwrap();
        let config = "certfile DIR/server.pem\nkeyfile DIR/server.key\nallow_anonymous true";
        Some(Mosquitto::start_in(&program, dir, config))
    }
}

const FEW: &str = "--devices 3 --period 500ms --duration 1s";

#[test]
fn devices_publish_over_tls() {
    let authority = Authority::new();
    let Some(broker) = authority.broker("broker.example") else {
        return eprintln!("skipped: `mosquitto` is missing");
    };
    let run = |authority: &Authority, name: &str| {
        let generator = Generator::new(broker.port, FEW);
        let file = generator.file("ca.pem", &authority.0.pem());
        generator
            .option("--tls-ca", file)
            .option("--tls-name", name)
            .run()
    };
    run(&authority, "broker.example").expect(0, &["6 acknowledged"]);
    run(&authority, "other.example")
        .expect(69, &["TLS handshake failed", "no device could connect"]);
    run(&Authority::new(), "broker.example").expect(69, &["TLS handshake failed"]);
}

/// A broker that knows one user for each device.
fn broker_with_users(users: &[(&str, &str)]) -> Option<Mosquitto> {
    let mosquitto = program("mosquitto")?;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwords");
    let lines: String = users
        .iter()
        .map(|(user, password)| format!("{user}:{password}\n"))
        .collect();
    std::fs::write(&file, lines).unwrap();
    let hashed = Command::new(program("mosquitto_passwd")?)
        .arg("-U")
        .arg(&file)
        .status();
    assert!(hashed.unwrap().success());
    let config = "allow_anonymous false\npassword_file DIR/passwords";
    Some(Mosquitto::start_in(&mosquitto, dir, config))
}

#[test]
fn each_device_has_the_credentials_of_its_row() {
    let Some(broker) = broker_with_users(&[("ann", "a,1"), ("bob", "b2")]) else {
        return eprintln!("skipped: `mosquitto` is missing");
    };
    let run = |rows: &str| {
        let generator = Generator::new(broker.port, "--period 500ms --duration 1s");
        let file = generator.file("devices.csv", rows);
        let generator = generator.option("--credentials", file);
        let ended = generator.run();
        (generator, ended)
    };
    let (_, ended) = run("client_id,username,password\nd1,ann,\"a,1\"\nd2,bob,b2\n");
    ended.expect(0, &["2 devices", "4 acknowledged"]);
    let (generator, ended) = run("d1,ann,\"a,1\"\nd2,bob,wrong\n");
    ended.expect(
        0,
        &[
            "2 acknowledged",
            "2 not sent",
            "not authorized (return code 5)",
        ],
    );
    assert!(!ended.text.contains("wrong"), "{}", ended.text);
    assert!(
        generator
            .rows()
            .iter()
            .any(|row| &row[2] == "connect" && &row[4] == "5")
    );
}

#[test]
fn a_wrong_password_of_all_devices_is_named() {
    let Some(broker) = broker_with_users(&[("ann", "right")]) else {
        return eprintln!("skipped: `mosquitto` is missing");
    };
    let options = format!("{FEW} --username ann");
    let run = |password| {
        Generator::new(broker.port, &options)
            .env("ATQ_MQTT_PASSWORD", password)
            .run()
    };
    run("right").expect(0, &["6 acknowledged"]);
    run("false").expect(69, &["not authorized", "no device could connect"]);
}

#[test]
fn a_port_with_tls_is_not_reached_without_it() {
    let broker = mosquitto_or_skip!("allow_anonymous true");
    let authority = Authority::new();
    let generator = Generator::new(broker.port, FEW);
    let file = generator.file("ca.pem", &authority.0.pem());
    generator
        .option("--tls-ca", file)
        .run()
        .expect(69, &["TLS handshake failed"]);
}
