#![allow(clippy::unwrap_used)]
//! Following result files with the compiled program.

mod fixture;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use atq_node_protocol::tail::{Answer, Header, MAX_BODY, Outcome, decode};
use fixture::server::{Reply, Server};
use fixture::{Finished, Fixture, TOKEN};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A carrier that follows one container.
struct Tail {
    fixture: Fixture,
    child: Child,
}

impl Tail {
    fn start(url: &str) -> Self {
        let fixture = Fixture::new();
        fs::create_dir_all(results(&fixture)).unwrap();
        let child = command(&fixture, &order(url)).spawn().unwrap();
        Self { fixture, child }
    }

    fn append(&self, name: &str, bytes: &[u8]) {
        let path = results(&self.fixture).join(name);
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.unwrap().write_all(bytes).unwrap();
    }

    /// Ends it by SIGTERM.
    fn end(self) -> Finished {
        let killed = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(killed.unwrap().success());
        Finished::of(&self.child.wait_with_output().unwrap())
    }
}

fn results(fixture: &Fixture) -> std::path::PathBuf {
    fixture.dir.path().join("results/worker.1")
}

fn order(url: &str) -> Value {
    json!({ "url": url, "run": "r1", "sources": ["worker.1"], "intervalMs": 50 })
}

fn command(fixture: &Fixture, order: &Value) -> Command {
    let mut command = fixture.command("tail", order);
    command.env(
        "ATQ_CARRIER_RESULTS_DIR",
        fixture.dir.path().join("results"),
    );
    command
}

/// The content of each file, by its path.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Accepts everything, keeps the content of each file, and passes on each header.
fn director(
    reply: impl Fn(&Header) -> Option<Reply> + Send + Sync + 'static,
) -> (Server, Files, Receiver<Header>) {
    let files = Files::default();
    let (sender, headers) = mpsc::channel();
    let (kept, sender): (_, Mutex<Sender<Header>>) = (Arc::clone(&files), Mutex::new(sender));
    let server = Server::tcp(move |request| {
        assert_eq!(request.line, "POST /carrier/r1/tail");
        assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}"));
        assert_eq!(request.headers["x-atq-node"], fixture::NODE);
        assert!(request.body.len() <= MAX_BODY);
        let decoded = decode(&request.body).unwrap();
        if let Some(reply) = reply(&decoded.header) {
            return reply;
        }
        let parts = decoded.header.parts.iter().zip(&decoded.ranges);
        let parts = parts.map(|(part, range)| {
            let mut files = kept.lock().unwrap();
            let file = files.entry(part.path.clone()).or_default();
            if part.offset != file.len() as u64 {
                return Outcome::ResumeAt {
                    generation: 0,
                    bytes: file.len() as u64,
                };
            }
            file.extend_from_slice(&request.body[range.clone()]);
            Outcome::Accepted
        });
        let answer = Answer {
            parts: parts.collect(),
            ..Answer::default()
        };
        let _ = sender.lock().unwrap().send(decoded.header);
        Reply::Full(200, serde_json::to_vec(&answer).unwrap())
    });
    (server, files, headers)
}

fn wait_until(what: &str, mut met: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !met() {
        assert!(begun.elapsed() < TIMEOUT, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn bytes_are_sent_as_they_are_appended_until_sigterm() {
    let (server, files, headers) = director(|_| None);
    let tail = Tail::start(&server.url);
    for text in ["time,ms\n", "1,20\n", "2,21\n"] {
        tail.append("a.csv", text.as_bytes());
        let before = files.lock().unwrap().get("a.csv").map_or(0, Vec::len);
        wait_until("received", || {
            files.lock().unwrap().get("a.csv").map_or(0, Vec::len) > before
        });
    }
    // It reports that nothing is missing also when nothing is appended.
    let idle = |header: &Header| header.parts.is_empty() && header.up_to_date == ["worker.1"];
    for _ in 0..2 {
        while !idle(&headers.recv_timeout(TIMEOUT).unwrap()) {}
    }
    let ended = tail.end();
    assert_eq!(ended.assert_done().report["work"], "tail");
    assert_eq!(files.lock().unwrap()["a.csv"], b"time,ms\n1,20\n2,21\n");
}

#[test]
fn a_director_that_restarts_only_delays() {
    let refused_with = |first: u16| {
        let refusals = Mutex::new(vec![first, 503]);
        let (server, files, _headers) = director(move |_| {
            let status = refusals.lock().unwrap().pop()?;
            Some(Reply::Full(status, b"{}".to_vec()))
        });
        let tail = Tail::start(&server.url);
        tail.append("a", b"bytes");
        wait_until("received", || files.lock().unwrap().contains_key("a"));
        assert_eq!(files.lock().unwrap()["a"], b"bytes");
        tail.end().assert_done();
    };
    // At the same time: each of them waits.
    std::thread::scope(|scope| {
        for status in [403, 401, 409, 500] {
            scope.spawn(move || refused_with(status));
        }
    });
}

#[test]
fn a_refused_connection_is_retried() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut tail = Tail::start(&format!("http://{address}"));
    tail.append("a", b"bytes");
    let mut text = String::new();
    let mut stderr = tail.child.stderr.take().unwrap();
    let mut byte = [0];
    while !text.contains("connection refused") {
        stderr.read_exact(&mut byte).unwrap();
        text.push(byte[0].into());
    }
    tail.end().assert_done();
}

#[test]
fn a_body_that_the_director_does_not_understand_ends_it() {
    let (server, ..) = director(|_| Some(Reply::Full(400, b"{\"detail\":\"what\"}".to_vec())));
    let tail = Tail::start(&server.url);
    let ended = Finished::of(&tail.child.wait_with_output().unwrap());
    assert_eq!(
        ended.problem(),
        r#"the Director answered 400: {\"detail\":\"what\"}"#
    );
}

#[test]
fn a_slow_director_holds_the_reader_and_not_the_memory() {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap();
    let inside = Arc::clone(&gate);
    let (server, files, _headers) = director(move |header| {
        if !header.parts.is_empty() {
            drop(inside.lock().unwrap());
        }
        None
    });
    let tail = Tail::start(&server.url);
    let large = vec![b'x'; 64 << 20];
    tail.append("large", &large);
    let with_bytes = || {
        let requests = server.requests("POST");
        let bodies = requests
            .iter()
            .map(|request| decode(&request.body).unwrap());
        bodies.filter(|body| !body.header.parts.is_empty()).count()
    };
    wait_until("the first body", || with_bytes() == 1);
    // The next one is due many times over.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(with_bytes(), 1);
    let status = fs::read_to_string(format!("/proc/{}/status", tail.child.id())).unwrap();
    let resident = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 40 << 10, "{resident}");
    drop(closed);
    wait_until("all of it", || {
        files.lock().unwrap().get("large").map_or(0, Vec::len) == large.len()
    });
    tail.end().assert_done();
}

#[test]
fn names_in_the_order_become_no_paths() {
    let fixture = Fixture::new();
    for (run, source) in [("r1", "../etc"), ("r1", ""), ("a/b", "worker.1")] {
        let order = json!({ "url": "http://127.0.0.1:1", "run": run, "sources": [source] });
        let ended = Finished::of(&command(&fixture, &order).output().unwrap());
        assert!(
            ended.problem().starts_with("the order has the name"),
            "{ended:?}"
        );
    }
}
