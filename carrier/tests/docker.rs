#![allow(clippy::unwrap_used)]
//! The compiled program against a fake Docker, for responses that a real one rarely gives.

mod fixture;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use fixture::server::{Reply, Server};
use fixture::{Finished, Fixture};

fn socket(fixture: &Fixture) -> std::path::PathBuf {
    fixture.dir.path().join("sock")
}

fn director() -> Server {
    Server::tcp(|_| Reply::Full(204, Vec::new()))
}

#[test]
fn removal_of_a_volume_in_use_is_retried_and_an_absent_one_is_no_error() {
    let (fixture, tries) = (Fixture::new(), AtomicUsize::new(0));
    let docker = Server::unix(&socket(&fixture), move |request| {
        match request.line.as_str() {
            "DELETE /volumes/absent" => {
                Reply::Full(404, b"{\"message\":\"no such volume\"}".to_vec())
            }
            "DELETE /volumes/busy" if tries.fetch_add(1, Ordering::SeqCst) == 0 => {
                Reply::Full(409, b"{\"message\":\"volume is in use - [c1]\"}".to_vec())
            }
            _ => Reply::Full(204, Vec::new()),
        }
    });
    let ended = fixture.run("remove", &json!({ "volumes": ["absent", "busy", "there"] }));
    assert_eq!(ended.assert_done().report["work"], "remove");
    assert_eq!(docker.requests("DELETE /volumes/busy").len(), 2);
    assert_eq!(docker.requests("DELETE /volumes/there").len(), 1);
}

#[test]
fn a_volume_that_cannot_be_removed_is_named() {
    let fixture = Fixture::new();
    let _docker = Server::unix(&socket(&fixture), |request| match request.line.as_str() {
        "DELETE /volumes/odd" => Reply::Full(400, b"{\"message\":\"what a name\"}".to_vec()),
        _ => Reply::Full(204, Vec::new()),
    });
    let ended = fixture.run("remove", &json!({ "volumes": ["fine", "odd"] }));
    assert_eq!(
        ended.problem(),
        "1 of 2 volumes not removed: cannot remove the volume `odd`: Docker answered 400: what a name"
    );
    let ended = fixture.run("remove", &json!({ "volumes": ["../containers/x"] }));
    assert!(
        ended
            .problem()
            .starts_with("the order has the name `../containers/x`, expected letters")
    );
}

#[test]
fn volumes_are_found_by_their_labels_until_none_is_left() {
    let (fixture, lists) = (Fixture::new(), AtomicUsize::new(0));
    let docker = Server::unix(&socket(&fixture), move |request| {
        if !request.line.starts_with("GET /volumes?") {
            return Reply::Full(204, Vec::new());
        }
        let volumes = match lists.fetch_add(1, Ordering::SeqCst) {
            0 => json!([{ "Name": "results-1" }, { "Name": "results-2" }]),
            _ => Value::Null,
        };
        Reply::Full(200, json!({ "Volumes": volumes }).to_string().into_bytes())
    });
    let labels = |run: &str| json!({ "com.atq.run": run, "com.atq.director": "d" });
    let order = json!({ "volumes": [], "labels": [labels("r1"), labels("r2")] });
    fixture.run("remove", &order).assert_done();
    let removed = docker.requests("DELETE").into_iter().map(|one| one.line);
    assert_eq!(
        removed.collect::<Vec<_>>(),
        ["DELETE /volumes/results-1", "DELETE /volumes/results-2"]
    );
    let lists = docker.requests("GET");
    assert_eq!(lists.len(), 2);
    assert!(lists[0].line.contains("com.atq.director%3Dd"));
    assert!(lists[1].line.contains("com.atq.run%3Dr2"));
}

#[test]
fn a_labelled_volume_that_stays_in_use_is_retried() {
    let (fixture, tries) = (Fixture::new(), AtomicUsize::new(0));
    let docker = Server::unix(&socket(&fixture), move |request| {
        match request.line.starts_with("GET") {
            true => Reply::Full(200, br#"{"Volumes":[{"Name":"busy"}]}"#.to_vec()),
            false if tries.fetch_add(1, Ordering::SeqCst) == 0 => {
                Reply::Full(409, b"{\"message\":\"volume is in use - [c1]\"}".to_vec())
            }
            false => Reply::Full(204, Vec::new()),
        }
    });
    let order = json!({ "volumes": [], "labels": [{ "com.atq.run": "r1" }] });
    fixture.run("remove", &order).assert_done();
    assert_eq!(docker.requests("DELETE /volumes/busy").len(), 2);
}

#[test]
fn labels_that_would_match_volumes_of_others_are_refused() {
    let fixture = Fixture::new();
    let docker = Server::unix(&socket(&fixture), |_| Reply::Full(204, Vec::new()));
    for labels in [json!({}), json!({ "com.atq.director": "d" })] {
        let ended = fixture.run("remove", &json!({ "volumes": [], "labels": [labels] }));
        assert!(
            ended
                .problem()
                .starts_with("`labels` in the order has neither"),
            "{ended:?}"
        );
    }
    assert!(docker.requests("").is_empty());
}

#[test]
fn containers_of_the_run_are_killed_until_none_is_running() {
    let (fixture, calls) = (Fixture::new(), AtomicUsize::new(0));
    let container = |id: &str, role: &str| json!({"Id": id, "Labels": {"com.atq.role": role}});
    let docker = Server::unix(&socket(&fixture), move |request| {
        if !request.line.starts_with("GET /containers/json?") {
            // A container that has ended meanwhile is not an error.
            return Reply::Full(409, b"{\"message\":\"is not running\"}".to_vec());
        }
        let all = match calls.fetch_add(1, Ordering::SeqCst) {
            0 => vec![
                container("m", "master"),
                container("w", "worker"),
                container("c", "killer"),
            ],
            1 => vec![container("w", "worker"), container("c", "killer")],
            _ => vec![container("c", "killer")],
        };
        Reply::Full(200, json!(all).to_string().into_bytes())
    });
    let order = json!({ "run": "r1", "roles": ["worker", "master"] });
    let ended = fixture.run("kill", &order);
    assert_eq!(ended.assert_done().report["work"], "kill");
    let kills: Vec<_> = docker
        .requests("POST")
        .into_iter()
        .map(|one| one.line)
        .collect();
    let kill = |id: &str| format!("POST /containers/{id}/kill?signal=SIGKILL");
    assert_eq!(kills, [kill("m"), kill("w"), kill("w")]);
    assert!(docker.requests("GET")[0].line.contains("com.atq.run%3Dr1"));
}

#[test]
fn a_container_that_cannot_be_killed_is_reported_with_dockers_reason() {
    let fixture = Fixture::new();
    let _docker = Server::unix(&socket(&fixture), |request| {
        match request.line.starts_with("GET") {
            true => Reply::Full(
                200,
                br#"[{"Id":"m","Labels":{"com.atq.role":"master"}}]"#.to_vec(),
            ),
            false => Reply::Full(400, b"{\"message\":\"no such signal\"}".to_vec()),
        }
    });
    let ended = fixture.run("kill", &json!({ "run": "r1", "roles": ["master"] }));
    assert_eq!(
        ended.problem(),
        "cannot kill container `m`: Docker answered 400: no such signal"
    );
}

fn collect(url: &str, containers: &[(&str, &str)]) -> Value {
    let containers: Vec<Value> = containers
        .iter()
        .map(|(id, source)| json!({ "id": id, "source": source }))
        .collect();
    json!({ "url": url, "run": "r1", "containers": containers })
}

#[test]
fn results_are_uploaded_unchanged() {
    let fixture = Fixture::new();
    let tar: Vec<u8> = (0..3_000_000u32).map(|i| (i >> 3) as u8).collect();
    let body = tar.clone();
    let docker = Server::unix(&socket(&fixture), move |request| {
        match request.line.starts_with("GET /containers/here/archive?") {
            true => Reply::Full(200, body.clone()),
            false => Reply::Full(404, b"{\"message\":\"No such container\"}".to_vec()),
        }
    });
    let director = director();
    let order = collect(
        &director.url,
        &[("there", "worker.1"), ("here", "worker.2")],
    );
    let ended = fixture.run("collect", &order);
    assert_eq!(ended.assert_done().report["bytes"], tar.len());
    assert_eq!(
        docker.requests("GET /containers/here/")[0].line,
        "GET /containers/here/archive?path=%2Fatq%2Fresults"
    );
    let puts = director.requests("PUT");
    assert_eq!(puts.len(), 1);
    assert_eq!(puts[0].line, "PUT /carrier/r1/results/worker.2");
    assert_eq!(puts[0].headers["authorization"], "Bearer 5ec8e7");
    assert!(puts[0].body == tar);
}

#[test]
fn unreadable_results_are_reported_and_do_not_stop_other_containers() {
    let fixture = Fixture::new();
    let _docker = Server::unix(&socket(&fixture), |request| {
        match request.line.split('/').nth(2) {
            Some("broken") => Reply::Cut(vec![1; 1000], 10),
            Some("refused") => Reply::Full(400, b"{\"message\":\"not now\"}".to_vec()),
            _ => Reply::Full(200, b"tar".to_vec()),
        }
    });
    let director = director();
    let order = collect(
        &director.url,
        &[
            ("broken", "worker.1"),
            ("refused", "worker.2"),
            ("good", "master.1"),
        ],
    );
    let ended = fixture.run("collect", &order);
    let problem = ended.problem();
    assert!(
        problem.contains("worker.1: cannot read `/atq/results` of container `broken`"),
        "{problem}"
    );
    assert!(
        problem.contains(
            "worker.2: cannot read files of container `refused`: Docker answered 400: not now"
        ),
        "{problem}"
    );
    assert!(!problem.contains("master.1"));
    let reported = director.requests("PUT /carrier/r1/results/worker.2?problem=");
    assert_eq!(reported.len(), 1);
    assert!(reported[0].line.contains("not%20now") && reported[0].body.is_empty());
    assert_eq!(
        director
            .requests("PUT /carrier/r1/results/worker.1?problem=")
            .len(),
        1
    );
    // An interrupted upload never counts as complete.
    let uploads = director.requests("PUT /carrier/r1/results/worker.1");
    assert!(
        uploads
            .iter()
            .all(|r| r.line.contains("?problem=") || !r.complete)
    );
    assert_eq!(
        director.requests("PUT /carrier/r1/results/master.1")[0].body,
        b"tar"
    );
}

#[test]
fn a_refused_upload_is_not_retried() {
    let fixture = Fixture::new();
    let _docker = Server::unix(&socket(&fixture), |_| Reply::Full(200, b"tar".to_vec()));
    let director = Server::tcp(|_| Reply::Full(413, b"too large".to_vec()));
    let ended = fixture.run("collect", &collect(&director.url, &[("good", "master.1")]));
    let expected = format!(
        "master.1: the Director at `{}` answered 413: too large",
        director.url
    );
    assert_eq!(ended.problem(), expected);
    assert_eq!(director.requests("PUT").len(), 1);
}

/// The server responds and closes before reading the whole body; the kernel then resets the connection.
#[test]
fn a_response_before_the_end_of_the_upload_is_reported() {
    let fixture = Fixture::new();
    let tar = vec![7; 64 << 20];
    let _docker = Server::unix(&socket(&fixture), move |_| Reply::Full(200, tar.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let director = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut some = vec![0; 1 << 20];
        stream.read_exact(&mut some).unwrap();
        let answer = b"HTTP/1.1 413 X\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large";
        stream.write_all(answer).unwrap();
    });
    let ended = fixture.run("collect", &collect(&url, &[("large", "worker.1")]));
    director.join().unwrap();
    let expected = format!("worker.1: the Director at `{url}` answered 413: too large");
    assert_eq!(ended.problem(), expected);
}

#[test]
fn an_unreachable_docker_is_reported() {
    let fixture = Fixture::new();
    let director = director();
    let socket = socket(&fixture).display().to_string();
    let reason = format!("cannot reach Docker at `{socket}`: no such file or directory");
    let ended = fixture.run("collect", &collect(&director.url, &[("x", "worker.1")]));
    assert_eq!(ended.problem(), format!("worker.1: {reason}"));
}

/// CPU counters that grow by half a CPU between two samples.
fn counters(samples: &AtomicUsize) -> Value {
    let sample = samples.fetch_add(1, Ordering::SeqCst) as u64;
    json!({ "cpu_stats": {
        "cpu_usage": { "total_usage": sample * 500_000_000 },
        "system_cpu_usage": sample * 4_000_000_000,
        "online_cpus": 4,
    },
    "memory_stats": { "usage": 1000, "limit": 4000, "stats": { "inactive_file": 100 } },
    "networks": { "eth0": { "rx_bytes": 10 * sample, "tx_bytes": 5 } },
    })
}

#[test]
fn watching_continues_after_errors_until_sigterm() {
    let (fixture, calls) = (Fixture::new(), AtomicUsize::new(0));
    let docker = Server::unix(&socket(&fixture), move |request| {
        let labels = |role| json!({ "com.atq.role": role, "com.docker.swarm.task.name": format!("t-{role}.2.xyz") });
        let body = match request.line.split(['?', ' ']).nth(1) {
            Some("/containers/json") => json!([
                { "Id": "c1", "Labels": labels("worker") },
                { "Id": "c2", "Labels": labels("discovery") },
            ]),
            Some("/containers/c1/stats") => counters(&calls),
            _ => return Reply::Full(500, Vec::new()),
        };
        Reply::Full(200, body.to_string().into_bytes())
    });
    let posts = AtomicUsize::new(0);
    let director = Server::tcp(move |_| match posts.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Full(500, Vec::new()),
        _ => Reply::Full(204, Vec::new()),
    });
    let order = json!({ "url": director.url, "run": "r1", "seconds": 1 });
    let child = fixture.start("watch", &order);
    let begun = std::time::Instant::now();
    while director.requests("POST").len() < 2 {
        assert!(begun.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let ended = Finished::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.assert_done().report["work"], "watch");
    let post = &director.requests("POST")[1];
    assert_eq!(post.line, "POST /carrier/r1/load");
    let load: Value = serde_json::from_slice(&post.body).unwrap();
    assert_eq!(
        load["containers"],
        json!([{ "id": "c1", "source": "worker.2", "percent": 50.0,
            "memory": 900, "memoryLimit": 4000, "received": 20, "sent": 5 }])
    );
    assert!((0.0..=100.0).contains(&load["nodePercent"].as_f64().unwrap()));
    assert!(load["cpus"].as_u64().unwrap() > 0 && load["at"].as_i64().unwrap() > 0);
    let listed = &docker.requests("GET /containers/json")[0].line;
    assert!(listed.contains("com.atq.run%3Dr1"), "{listed}");
}
