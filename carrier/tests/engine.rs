#![allow(clippy::unwrap_used)]
//! The compiled program against a Docker Engine: that of `DOCKER_HOST`, or of this machine. Needs the images `atq-testload:dev` and
//! `atq-discovery:dev`; runs when `ATQ_TEST_SWARM` is 1.

mod fixture;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use fixture::server::{Reply, Server};
use fixture::{Finished, Fixture};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const IMAGE: &str = "atq-testload:dev";
/// An image without `/atq/results`.
const IMAGE_WITHOUT_RESULTS: &str = "atq-discovery:dev";

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn is_wanted() -> bool {
    let wanted = std::env::var("ATQ_TEST_SWARM").as_deref() == Ok("1");
    if !wanted {
        println!("skipped: no Swarm (ATQ_TEST_SWARM is not set)");
    }
    wanted
}

/// A container that is removed on drop.
struct Container(String);

impl Container {
    fn new(command: &[&str], image: &str, arguments: &[&str]) -> Self {
        let mut args = command.to_vec();
        args.extend(["--label", "com.atq.test=carrier", image]);
        args.extend(arguments);
        Self(docker(&args))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let removed = Command::new("docker").args(["rm", "-fv", &self.0]).output();
        let _ = removed.unwrap();
    }
}

/// A volume that is removed on drop, unless the test has removed it.
struct Volume(String);

impl Volume {
    fn new(suffix: &str) -> Self {
        let name = format!("atq-test-{suffix}-{}", std::process::id());
        docker(&["volume", "create", "--label", "com.atq.test=carrier", &name]);
        Self(name)
    }

    fn exists(&self) -> bool {
        let filter = format!("name=^{}$", self.0);
        !docker(&["volume", "ls", "-q", "--filter", &filter]).is_empty()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let removed = Command::new("docker")
            .args(["volume", "rm", &self.0])
            .output();
        let _ = removed.unwrap();
    }
}

fn command(fixture: &Fixture, work: &str, order: &Value) -> Command {
    let mut command = fixture.command(work, order);
    command.env("ATQ_CARRIER_DOCKER_SOCKET", socket());
    command
}

/// The socket of the Engine that the `docker` program uses as well.
fn socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let path = match host.as_str() {
        "" => DEFAULT_SOCKET,
        host => host
            .strip_prefix("unix://")
            .expect("`DOCKER_HOST` is a socket"),
    };
    path.to_owned()
}

fn wait_until(mut met: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !met() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "not met within a minute"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn volumes_are_removed_as_soon_as_no_container_uses_them() {
    if !is_wanted() {
        return;
    }
    let (free, held) = (Volume::new("free"), Volume::new("held"));
    let mount = format!("{}:/held", held.0);
    let holder = Container::new(&["create", "-v", &mount], IMAGE, &["worker"]);
    let fixture = Fixture::new();
    let order = json!({ "volumes": [free.0, "atq-test-never-there", held.0] });
    let child = command(&fixture, "remove", &order).spawn().unwrap();
    // The carrier has tried to remove the held volume, or does so next.
    wait_until(|| !free.exists());
    assert!(held.exists());
    drop(holder);
    let ended = Finished::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.assert_done().report["work"], "remove");
    assert!(!held.exists());
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut list = Command::new("tar")
        .args(["-t", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    list.stdin.take().unwrap().write_all(tar).unwrap();
    let output = list.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn results_are_collected_from_ended_containers() {
    if !is_wanted() {
        return;
    }
    let fixture = Fixture::new();
    let results = fixture.dir.path().join("atq/results/deep");
    fs::create_dir_all(&results).unwrap();
    fs::write(results.join("figures.csv"), vec![b'1'; 2 << 20]).unwrap();
    let with = Container::new(&["create"], IMAGE, &["worker"]);
    let without = Container::new(&["create"], IMAGE_WITHOUT_RESULTS, &[]);
    let from = fixture.dir.path().join("atq").display().to_string();
    docker(&["cp", &from, &format!("{}:/", with.0)]);

    let director = Server::tcp(|_| Reply::Full(204, Vec::new()));
    let order = json!({ "url": director.url, "run": "r1", "containers": [
        { "id": "0123456789abcdef", "source": "worker.1" },
        { "id": with.0, "source": "worker.2" },
        { "id": without.0, "source": "worker.3" },
    ]});
    let ended = Finished::of(&command(&fixture, "collect", &order).output().unwrap());
    let puts = director.requests("PUT");
    assert_eq!(puts.len(), 1, "{ended:?}");
    assert_eq!(puts[0].line, "PUT /carrier/r1/results/worker.2");
    assert_eq!(ended.assert_done().report["bytes"], puts[0].body.len());
    assert_eq!(
        names(&puts[0].body),
        ["results/", "results/deep/", "results/deep/figures.csv"]
    );
}

#[test]
fn a_busy_container_is_reported() {
    if !is_wanted() {
        return;
    }
    let run = format!("w{}", std::process::id());
    let label = format!("com.atq.run={run}");
    let busy = Container::new(
        &[
            "run",
            "-d",
            "--label",
            &label,
            "--label",
            "com.atq.role=worker",
            "--label",
            "com.docker.swarm.task.name=t-worker.4.xyz",
            "--entrypoint",
            "/bin/sh",
        ],
        IMAGE,
        &["-c", "while :; do :; done"],
    );
    let (sender, receiver) = mpsc::channel();
    let director = Server::tcp(move |request| {
        let _ = sender.send(serde_json::from_slice::<Value>(&request.body).unwrap());
        Reply::Full(204, Vec::new())
    });
    let fixture = Fixture::new();
    let order = json!({ "url": director.url, "run": run, "seconds": 1 });
    let child = command(&fixture, "watch", &order).spawn().unwrap();
    let load = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.unwrap().success());
    Finished::of(&child.wait_with_output().unwrap()).assert_done();
    let reported = &load["containers"][0];
    assert_eq!(
        (&reported["id"], &reported["source"]),
        (&json!(busy.0), &json!("worker.4"))
    );
    assert!(reported["percent"].as_f64().unwrap() > 1.0, "{load}");
    assert!(load["nodePercent"].as_f64().unwrap() > 0.0, "{load}");
}
