#![allow(clippy::unwrap_used)]
//! The compiled program fetches bundles from a test server.

mod fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atq_bundle_archive::raw::{Item, archive};
use serde_json::{Value, json};

use fixture::server::{Authority, Reply, Server};
use fixture::{Finished, Fixture, big_zip, id, order, paths};

const USERS: &[u8] = b"name,word\nann,\"a\nb\"\nbob,2\ncid,3\ndan,4\n";

fn sample() -> Vec<u8> {
    archive(&[
        Item::stored("plan.jmx", b"<plan/>"),
        Item::stored("bin/run.sh", b"#!/bin/sh\n").with_mode(0o100_755),
        Item::stored("data/users.csv", USERS),
    ])
}

/// A fake Director with one bundle.
fn director(zip: Vec<u8>) -> Server {
    Server::tcp(move |request| match request.line.as_str() {
        "GET /carrier/ready" => Reply::Full(200, b"atq-director d1".to_vec()),
        line if line.starts_with("GET /carrier/r1/bundle/") => Reply::Full(200, zip.clone()),
        _ => Reply::Full(404, Vec::new()),
    })
}

/// Like [`director`], with TLS.
fn director_with_tls(zip: Vec<u8>, authority: &Authority, names: &[&str]) -> Server {
    Server::tls(authority, names, move |request| {
        match request.line.as_str() {
            "GET /carrier/ready" => Reply::Full(200, b"atq-director d1".to_vec()),
            _ => Reply::Full(200, zip.clone()),
        }
    })
}

fn split(order: &Value, replicas: u32, path: &str) -> Value {
    let mut order = order.clone();
    order["split"] = json!({ "replicas": replicas, "files": [{ "path": path, "header": true }] });
    order
}

#[test]
fn a_bundle_is_downloaded_once() {
    let (fixture, zip) = (Fixture::new(), sample());
    let server = director(zip.clone());
    let order = order(&server.url, &id(&zip));
    // Leftovers of an interrupted carrier, without a marker.
    fs::create_dir_all(fixture.bundle().join("old/deep")).unwrap();
    fs::write(fixture.bundle().join("old/deep/file"), "x").unwrap();
    fs::write(fixture.bundle().join("plan.jmx"), "half").unwrap();

    let first = fixture.run("fetch", &order);
    let report = &first.assert_done().report;
    assert_eq!(report["work"], "fetch");
    assert_eq!(report["node"], fixture::NODE);
    assert_eq!(report["fetched"], true);
    assert_eq!(report["bytes"], zip.len());
    let offset = report["clockOffsetMs"].as_i64().unwrap();
    assert!((1500..5000).contains(&offset), "{offset}");
    let expected = [
        ".atq-bundle",
        "bin",
        "bin/run.sh",
        "data",
        "data/users.csv",
        "plan.jmx",
    ];
    assert_eq!(fixture.bundle_paths(), expected);
    let mode = |path: &str| {
        let metadata = fs::metadata(fixture.bundle().join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(
        [
            "",
            "bin",
            "bin/run.sh",
            "plan.jmx",
            ".atq-bundle",
            ".atq-lock"
        ]
        .map(mode),
        [0o755, 0o755, 0o755, 0o644, 0o644, 0o644]
    );

    let second = fixture.run("fetch", &order);
    assert_eq!(second.assert_done().report["fetched"], false);
    assert_eq!(second.report["bytes"], 0);
    assert!(second.report["clockOffsetMs"].is_i64());
    let downloads = server.requests("GET /carrier/r1/bundle/");
    assert_eq!(downloads.len(), 1);
    assert_eq!(downloads[0].headers["authorization"], "Bearer 5ec8e7");
    assert_eq!(downloads[0].headers["x-atq-node"], fixture::NODE);
    let ready = server.requests("GET /carrier/ready");
    assert!(
        ready
            .iter()
            .all(|r| !r.headers.contains_key("authorization"))
    );
}

#[test]
fn rows_are_split_into_the_parts() {
    let (fixture, zip) = (Fixture::new(), sample());
    let server = director(zip.clone());
    let order = split(&order(&server.url, &id(&zip)), 3, "data/users.csv");
    assert_eq!(
        fixture.run("fetch", &order).assert_done().report["fetched"],
        true
    );
    let part = |slot| fs::read_to_string(fixture.part(slot).join("data/users.csv")).unwrap();
    assert_eq!(part(1), "name,word\nann,\"a\nb\"\ndan,4\n");
    assert_eq!(part(2), "name,word\nbob,2\n");
    assert_eq!(part(3), "name,word\ncid,3\n");
    let link = fs::read_link(fixture.bundle().join("data/users.csv")).unwrap();
    assert_eq!(link, Path::new("/atq/part/data/users.csv"));
    assert_eq!(
        fixture.run("fetch", &order).assert_done().report["fetched"],
        false
    );

    // A lost part is restored; everything else is unchanged.
    let untouched = [
        fixture.bundle().join("plan.jmx"),
        fixture.part(1).join("data/users.csv"),
    ];
    let times = untouched
        .clone()
        .map(|path| fs::metadata(path).unwrap().modified().unwrap());
    fs::remove_dir_all(fixture.part(2)).unwrap();
    fs::create_dir(fixture.part(2)).unwrap();
    assert_eq!(
        fixture.run("fetch", &order).assert_done().report["fetched"],
        true
    );
    assert_eq!(part(2), "name,word\nbob,2\n");
    assert_eq!(
        paths(&fixture.part(2)),
        [".atq-bundle", "data", "data/users.csv"]
    );
    assert_eq!(
        untouched.map(|path| fs::metadata(path).unwrap().modified().unwrap()),
        times
    );
}

#[test]
fn an_invalid_split_is_reported() {
    let zip = sample();
    let server = director(zip.clone());
    let plain = order(&server.url, &id(&zip));
    for (replicas, path, expected) in [
        (
            5,
            "data/users.csv",
            "`data/users.csv` has 4 rows for 5 replicas",
        ),
        (
            1,
            "data/nobody.csv",
            "`data/nobody.csv` is listed in `split` but is not a file of the bundle",
        ),
        (
            1,
            "../etc/passwd",
            "`split` in the order has the path `../etc/passwd`, expected a path within the bundle",
        ),
        (
            0,
            "data/users.csv",
            "`split.replicas` in the order is 0, expected at least 1",
        ),
    ] {
        let fixture = Fixture::new();
        for slot in 4..=5 {
            fs::create_dir(fixture.part(slot)).unwrap();
        }
        let ended = fixture.run("fetch", &split(&plain, replicas, path));
        assert!(ended.problem().starts_with(expected), "{}", ended.problem());
        assert!(!fixture.bundle().join(".atq-bundle").exists());
    }
}

#[test]
fn a_wrong_hash_and_invalid_archives_are_refused() {
    let fixture = Fixture::new();
    let server = director(sample());
    let wanted = "0123456789abcdef0123456789abcdef";
    let ended = fixture.run("fetch", &order(&server.url, wanted));
    let expected = format!(
        "the bundle's hash is `{}`, expected `{wanted}`",
        id(&sample())
    );
    assert_eq!(ended.problem(), expected);

    let hostile = archive(&[Item::stored("../evil", b"x")]);
    let server = director(hostile.clone());
    let ended = fixture.run("fetch", &order(&server.url, &id(&hostile)));
    assert_eq!(
        ended.problem(),
        "archive refused: entry `../evil` leads out of the archive by `..`"
    );

    let zip = sample();
    let server = director(zip.clone());
    let mut small = order(&server.url, &id(&zip));
    small["limits"]["unpackedBytes"] = json!(10);
    assert!(
        fixture
            .run("fetch", &small)
            .problem()
            .contains("more than 10")
    );
    small["limits"]["uploadBytes"] = json!(100);
    assert_eq!(
        fixture.run("fetch", &small).problem(),
        "the bundle is larger than 100 bytes"
    );
    assert_eq!(fixture.bundle_paths(), Vec::<String>::new());
}

#[test]
fn an_interrupted_download_is_retried() {
    let zip = archive(&[Item::stored("noise", &vec![7; 3 << 20])]);
    for (breaks, done) in [(2, true), (3, false)] {
        let fixture = Fixture::new();
        let (tries, body) = (AtomicUsize::new(0), zip.clone());
        let server = Server::tcp(move |request| {
            if !request.line.contains("/bundle/") {
                return Reply::Full(200, Vec::new());
            }
            match tries.fetch_add(1, Ordering::SeqCst) {
                n if n < breaks => Reply::Cut(body.clone(), 2 << 20),
                _ => Reply::Full(200, body.clone()),
            }
        });
        let ended = fixture.run("fetch", &order(&server.url, &id(&zip)));
        assert_eq!(server.requests("GET /carrier/r1/bundle/").len(), 3);
        if done {
            assert_eq!(ended.assert_done().report["bytes"], zip.len());
        } else {
            let expected = "was interrupted after 2097152 of";
            assert!(ended.problem().contains(expected), "{}", ended.problem());
            assert_eq!(fixture.bundle_paths(), Vec::<String>::new());
        }
    }
}

#[test]
fn an_unreachable_or_refusing_director_is_reported() {
    let fixture = Fixture::new();
    let wanted = "0123456789abcdef0123456789abcdef";
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let ended = fixture.run("fetch", &order(&url, wanted));
    let expected = format!("cannot reach the Director at `{url}`: connection refused");
    assert_eq!(ended.problem(), expected);

    for (status, tries) in [(403, 1), (404, 1), (503, 3)] {
        let server = Server::tcp(move |_| Reply::Full(status, b"the token is used".to_vec()));
        let ended = fixture.run("fetch", &order(&server.url, wanted));
        let url = &server.url;
        let expected = format!("the Director at `{url}` answered {status}: the token is used");
        assert_eq!(ended.problem(), expected);
        assert_eq!(server.requests("GET /carrier/r1/bundle/").len(), tries);
    }

    let mut secure = fixture.command("fetch", &order("https://127.0.0.1:1", wanted));
    let ended = Finished::of(&secure.env("SSL_CERT_FILE", "/nowhere").output().unwrap());
    let expected = "`https` needs CA certificates at `/nowhere`: no such file";
    assert!(ended.problem().starts_with(expected), "{}", ended.problem());
    let ended = fixture.run("fetch", &json!({}));
    assert!(
        ended
            .problem()
            .starts_with("the order in `ATQ_CARRIER_ORDER` is invalid: missing field")
    );
}

#[test]
fn the_order_sets_the_deadline() {
    let fixture = Fixture::new();
    let server = Server::tcp(|_| Reply::Hang(vec![0; 1000], 10));
    let mut order = order(&server.url, "0123456789abcdef0123456789abcdef");
    order["seconds"] = json!(1);
    let ended = fixture.run("fetch", &order);
    assert!(
        ended
            .problem()
            .contains("was interrupted after 10 of 1000 bytes"),
        "{}",
        ended.problem()
    );
}

fn terminate(pid: u32) {
    let done = Command::new("kill")
        .args(["-TERM", &pid.to_string()])
        .status();
    assert!(done.unwrap().success());
}

fn wait_until(mut met: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !met() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "not met within a minute"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn sigterm_ends_it_at_once_and_a_second_run_completes() {
    let zip = archive(&[Item::stored("noise", &vec![7; 3 << 20])]);
    let (fixture, first) = (Fixture::new(), AtomicUsize::new(0));
    let (body, wanted) = (zip.clone(), id(&zip));
    let server = Server::tcp(move |request| match request.line.as_str() {
        "GET /carrier/ready" => Reply::Full(200, Vec::new()),
        _ if first.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Hang(body.clone(), 1 << 20),
        _ => Reply::Full(200, body.clone()),
    });
    let order = order(&server.url, &wanted);
    let child = fixture.start("fetch", &order);
    wait_until(|| !server.requests("GET /carrier/r1/bundle/").is_empty());
    terminate(child.id());
    let ended = Finished::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(143));
    assert_eq!(ended.report["problem"], "ended by SIGTERM");
    assert_eq!(fixture.bundle_paths(), Vec::<String>::new());
    assert_eq!(
        fixture.run("fetch", &order).assert_done().report["fetched"],
        true
    );
    assert_eq!(fixture.bundle_paths(), [".atq-bundle", "noise"]);
}

#[test]
fn concurrent_carriers_wait_for_the_lock() {
    let (fixture, zip) = (Fixture::new(), sample());
    let (body, wanted) = (zip.clone(), id(&zip));
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let server = Server::tcp(move |request| {
        if request.line.contains("/bundle/") {
            wait.lock().unwrap().recv().unwrap();
        }
        Reply::Full(200, body.clone())
    });
    let order = order(&server.url, &wanted);
    let one = fixture.start("fetch", &order);
    wait_until(|| !server.requests("GET /carrier/r1/bundle/").is_empty());
    let mut two = fixture.start("fetch", &order);
    // The second carrier waits for the lock as soon as the lock file is open.
    let lock = fixture.bundle().canonicalize().unwrap().join(".atq-lock");
    wait_until(|| {
        let open = fs::read_dir(format!("/proc/{}/fd", two.id())).unwrap();
        let mut links = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        links.any(|link| link == lock)
    });
    assert!(two.try_wait().unwrap().is_none());
    go.send(()).unwrap();
    let one = Finished::of(&one.wait_with_output().unwrap());
    let two = Finished::of(&two.wait_with_output().unwrap());
    assert_eq!(one.assert_done().report["fetched"], true);
    assert_eq!(two.assert_done().report["fetched"], false);
    assert_eq!(server.requests("GET /carrier/r1/bundle/").len(), 1);
}

/// A mounted file system. Mounting requires root; otherwise the test is skipped.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .output();
        done.is_ok_and(|out| out.status.success())
            .then_some(Self(at))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_reported_with_the_needed_space() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle();
    let Some(_disk) = Disk::mount(&bundle, "2m") else {
        return;
    };
    // First too large to download, then too large to unpack beside its zip.
    for (size, needed) in [(3 << 20, "3.0 MiB"), (1200 << 10, "2.3 MiB")] {
        let zip = archive(&[Item::stored("big", &vec![7; size])]);
        let server = director(zip.clone());
        let ended = fixture.run("fetch", &order(&server.url, &id(&zip)));
        let expected =
            format!("no space left on the device: {needed} are needed, 2.0 MiB are free");
        assert_eq!(ended.problem(), expected);
        assert_eq!(fixture.bundle_paths(), Vec::<String>::new());
    }
    // The early check passes, but a part is on a smaller file system, which becomes full.
    let part = fixture.part(1);
    let _small = Disk::mount(&part, "64k").unwrap();
    let rows: Vec<u8> = (0..20_000)
        .flat_map(|i| format!("row {i}\n").into_bytes())
        .collect();
    let zip = archive(&[Item::stored("rows.csv", &rows)]);
    let server = director(zip.clone());
    let ended = fixture.run(
        "fetch",
        &split(&order(&server.url, &id(&zip)), 1, "rows.csv"),
    );
    assert!(
        ended.problem().starts_with("no space left on the device"),
        "{}",
        ended.problem()
    );
    assert!(!bundle.join(".atq-bundle").exists() && !part.join(".atq-bundle").exists());
}

/// Peak memory of a running process, in KiB.
fn high_water(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// `ATQ_TEST_BIG_MIB` sets the size of the bundle; the default is 256 MiB.
#[test]
fn memory_use_does_not_grow_with_the_bundle() {
    let mib: u64 = std::env::var("ATQ_TEST_BIG_MIB").map_or(256, |mib| mib.parse().unwrap());
    let fixture = Fixture::new();
    let zip = fixture.dir.path().join("big.zip");
    let wanted = big_zip(&zip, mib << 20);
    let file = zip.clone();
    let server = Server::tcp(move |request| match request.line.as_str() {
        "GET /carrier/ready" => Reply::Full(200, Vec::new()),
        _ => Reply::File(file.clone()),
    });
    let begun = Instant::now();
    let mut child = fixture.start("fetch", &order(&server.url, &wanted));
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(high_water(child.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(1));
    }
    let ended = Finished::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.assert_done().report["fetched"], true);
    assert_eq!(
        fs::metadata(fixture.bundle().join("noise")).unwrap().len(),
        mib << 20
    );
    println!(
        "{mib} MiB: at most {peak} KiB of memory, {} ms",
        begun.elapsed().as_millis()
    );
    assert!((1..40 * 1024).contains(&peak), "{peak} KiB");
}

#[test]
fn the_certificate_of_the_order_is_the_only_one_that_is_trusted() {
    let zip = sample();
    let (own, other) = (Authority::new(), Authority::new());
    for (signer, names, trusted) in [
        (&own, ["127.0.0.1"], true),
        (&other, ["127.0.0.1"], false),
        (&own, ["127.0.0.2"], false),
    ] {
        let fixture = Fixture::new();
        let server = director_with_tls(zip.clone(), signer, &names);
        let mut order = order(&server.url, &id(&zip));
        order["certificate"] = json!(own.pem);
        // The certificates of the node are not used.
        let file = fixture.dir.path().join("ca.pem");
        fs::write(&file, &other.pem).unwrap();
        let mut command = fixture.command("fetch", &order);
        let output = command.env("SSL_CERT_FILE", &file).output().unwrap();
        let finished = Finished::of(&output);
        if trusted {
            finished.assert_done();
        } else {
            let problem = finished.problem();
            assert!(problem.contains("certificate"), "{problem}");
            assert!(server.requests("").is_empty());
        }
    }
}

#[test]
fn an_order_without_a_certificate_uses_those_of_the_node() {
    let (fixture, zip, authority) = (Fixture::new(), sample(), Authority::new());
    let server = director_with_tls(zip.clone(), &authority, &["127.0.0.1"]);
    let file = fixture.dir.path().join("ca.pem");
    fs::write(&file, &authority.pem).unwrap();
    let mut command = fixture.command("fetch", &order(&server.url, &id(&zip)));
    let output = command.env("SSL_CERT_FILE", &file).output().unwrap();
    Finished::of(&output).assert_done();
}

#[test]
fn an_order_with_a_certificate_is_not_performed_without_tls() {
    let (fixture, zip) = (Fixture::new(), sample());
    let server = director(zip.clone());
    let mut order = order(&server.url, &id(&zip));
    order["certificate"] = json!(Authority::new().pem);
    let finished = fixture.run("fetch", &order);
    let expected = "the order has a certificate, but its URL is not `https`";
    assert_eq!(finished.problem(), expected);
    assert!(server.requests("").is_empty());

    order["url"] = json!(server.url.replace("http:", "https:"));
    order["certificate"] = json!("no certificate");
    let finished = fixture.run("fetch", &order);
    assert_eq!(finished.problem(), "the order has no valid `certificate`");
}
