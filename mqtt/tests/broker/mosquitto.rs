//! A Mosquitto of the tests.

use crate::harness::{free_port, until};
use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, Packet, Subscribe};
use rumqttc::mqttbytes::{Error, QoS};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The program: on PATH, or where `deploy/setup.sh mosquitto` installs it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), tools.join("tools")])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// Returns from a test without Mosquitto, with a message.
#[macro_export]
macro_rules! mosquitto_or_skip {
    ($config:expr) => {
        match $crate::mosquitto::Mosquitto::start($config) {
            Some(broker) => broker,
            None => {
                eprintln!("skipped: `mosquitto` is missing; install it: deploy/setup.sh mosquitto");
                return;
            }
        }
    };
}

/// A running broker, killed when dropped.
pub struct Mosquitto {
    pub port: u16,
    pub dir: TempDir,
    config: String,
    child: Child,
}

impl Mosquitto {
    /// Lines of the configuration after the listener; `DIR` is its directory.
    pub fn start(config: &str) -> Option<Self> {
        let program = program("mosquitto")?;
        let dir = tempfile::tempdir().unwrap();
        Some(Self::start_in(&program, dir, config))
    }

    pub fn start_in(program: &PathBuf, dir: TempDir, config: &str) -> Self {
        let port = free_port();
        let config = config.replace("DIR", &dir.path().display().to_string());
        let child = spawn(program, &dir, port, &config);
        let broker = Self {
            port,
            dir,
            config,
            child,
        };
        broker.wait_until_ready();
        broker
    }

    fn wait_until_ready(&self) {
        let connects = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        assert!(until(connects), "mosquitto does not listen");
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        let program = program("mosquitto").unwrap();
        self.child = spawn(&program, &self.dir, self.port, &self.config);
        self.wait_until_ready();
    }

    /// Waits until a counter of the broker has a value.
    pub fn expect_counter(&self, name: &str, value: u64) {
        let mut seen = 0;
        let equal = until(|| {
            seen = self.counter(name);
            seen == value
        });
        assert!(equal, "{name} is {seen}, expected {value}");
    }

    fn counter(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut out = BytesMut::new();
        Connect::new("counter").write(&mut out).unwrap();
        let mut subscribe = Subscribe::new(format!("$SYS/broker/{name}"), QoS::AtMostOnce);
        subscribe.pkid = 1;
        subscribe.write(&mut out).unwrap();
        stream.write_all(&out).unwrap();
        let mut received = BytesMut::new();
        loop {
            match Packet::read(&mut received, 1 << 20) {
                Ok(Packet::Publish(publish)) => {
                    return String::from_utf8_lossy(&publish.payload).parse().unwrap();
                }
                Ok(_) => {}
                Err(Error::InsufficientBytes(_)) => {
                    let mut bytes = [0; 1024];
                    let count = stream.read(&mut bytes).unwrap();
                    assert!(count > 0, "the broker closed the connection");
                    received.extend_from_slice(&bytes[..count]);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &PathBuf, dir: &TempDir, port: u16, config: &str) -> Child {
    let file = dir.path().join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\npersistence false\nsys_interval 1\nmax_connections -1\nuser root\n{config}\n"
    );
    std::fs::write(&file, text).unwrap();
    Command::new(program)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
