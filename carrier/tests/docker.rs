#![allow(clippy::unwrap_used)]
//! The real program beside a Docker that the test plays, for what a real one seldom says.

mod stage;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use stage::server::{Reply, Server};
use stage::{Ended, Stage};

fn socket(stage: &Stage) -> std::path::PathBuf {
    stage.dir.path().join("sock")
}

fn director() -> Server {
    Server::tcp(|_| Reply::Full(204, Vec::new()))
}

#[test]
fn a_volume_in_use_is_tried_again_and_an_absent_one_is_fine() {
    let (stage, tries) = (Stage::new(), AtomicUsize::new(0));
    let docker = Server::unix(&socket(&stage), move |request| {
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
    let ended = stage.run("remove", &json!({ "volumes": ["absent", "busy", "there"] }));
    assert_eq!(ended.is_done().words["work"], "remove");
    assert_eq!(docker.seen("DELETE /volumes/busy").len(), 2);
    assert_eq!(docker.seen("DELETE /volumes/there").len(), 1);
}

#[test]
fn a_volume_that_stays_is_named() {
    let stage = Stage::new();
    let _docker = Server::unix(&socket(&stage), |request| match request.line.as_str() {
        "DELETE /volumes/odd" => Reply::Full(400, b"{\"message\":\"what a name\"}".to_vec()),
        _ => Reply::Full(204, Vec::new()),
    });
    let ended = stage.run("remove", &json!({ "volumes": ["fine", "odd"] }));
    assert_eq!(
        ended.problem(),
        "1 of the volumes are left: cannot remove the volume `odd`: Docker answered 400: what a name"
    );
    let ended = stage.run("remove", &json!({ "volumes": ["../containers/x"] }));
    assert!(
        ended
            .problem()
            .starts_with("the order names `../containers/x`")
    );
}

#[test]
fn containers_of_the_run_are_killed_until_none_runs() {
    let (stage, looks) = (Stage::new(), AtomicUsize::new(0));
    let container = |id: &str, role: &str| json!({"Id": id, "Labels": {"com.atq.role": role}});
    let docker = Server::unix(&socket(&stage), move |request| {
        if !request.line.starts_with("GET /containers/json?") {
            // One that has ended meanwhile is fine.
            return Reply::Full(409, b"{\"message\":\"is not running\"}".to_vec());
        }
        let all = match looks.fetch_add(1, Ordering::SeqCst) {
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
    let ended = stage.run("kill", &order);
    assert_eq!(ended.is_done().words["work"], "kill");
    let kills: Vec<_> = docker
        .seen("POST")
        .into_iter()
        .map(|one| one.line)
        .collect();
    let kill = |id: &str| format!("POST /containers/{id}/kill?signal=SIGKILL");
    assert_eq!(kills, [kill("m"), kill("w"), kill("w")]);
    assert!(docker.seen("GET")[0].line.contains("com.atq.run%3Dr1"));
}

#[test]
fn a_container_that_cannot_be_killed_is_told_with_dockers_reason() {
    let stage = Stage::new();
    let _docker = Server::unix(&socket(&stage), |request| {
        match request.line.starts_with("GET") {
            true => Reply::Full(
                200,
                br#"[{"Id":"m","Labels":{"com.atq.role":"master"}}]"#.to_vec(),
            ),
            false => Reply::Full(400, b"{\"message\":\"no such signal\"}".to_vec()),
        }
    });
    let ended = stage.run("kill", &json!({ "run": "r1", "roles": ["master"] }));
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
fn results_go_to_the_director_as_they_are() {
    let stage = Stage::new();
    let tar: Vec<u8> = (0..3_000_000u32).map(|i| (i >> 3) as u8).collect();
    let body = tar.clone();
    let docker = Server::unix(&socket(&stage), move |request| {
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
    let ended = stage.run("collect", &order);
    assert_eq!(ended.is_done().words["bytes"], tar.len());
    assert_eq!(
        docker.seen("GET /containers/here/")[0].line,
        "GET /containers/here/archive?path=%2Fatq%2Fresults"
    );
    let puts = director.seen("PUT");
    assert_eq!(puts.len(), 1);
    assert_eq!(puts[0].line, "PUT /carrier/r1/results/worker.2");
    assert_eq!(puts[0].headers["authorization"], "Bearer 5ec8e7");
    assert!(puts[0].body == tar);
}

#[test]
fn results_that_cannot_be_read_are_confessed_and_hold_up_no_others() {
    let stage = Stage::new();
    let _docker = Server::unix(&socket(&stage), |request| {
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
    let ended = stage.run("collect", &order);
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
    let confessed = director.seen("PUT /carrier/r1/results/worker.2?problem=");
    assert_eq!(confessed.len(), 1);
    assert!(confessed[0].line.contains("not%20now") && confessed[0].body.is_empty());
    assert_eq!(
        director
            .seen("PUT /carrier/r1/results/worker.1?problem=")
            .len(),
        1
    );
    // What broke off was never told to be whole.
    let whole = director.seen("PUT /carrier/r1/results/worker.1");
    assert!(
        whole
            .iter()
            .all(|r| r.line.contains("?problem=") || !r.whole)
    );
    assert_eq!(
        director.seen("PUT /carrier/r1/results/master.1")[0].body,
        b"tar"
    );
}

#[test]
fn a_director_that_wants_no_results() {
    let stage = Stage::new();
    let _docker = Server::unix(&socket(&stage), |_| Reply::Full(200, b"tar".to_vec()));
    let director = Server::tcp(|_| Reply::Full(413, b"too large".to_vec()));
    let ended = stage.run("collect", &collect(&director.url, &[("good", "master.1")]));
    let expected = format!(
        "master.1: the Director at `{}` answered 413: too large",
        director.url
    );
    assert_eq!(ended.problem(), expected);
    assert_eq!(director.seen("PUT").len(), 1);
}

/// Whoever answers and closes has not read the rest, and the kernel says so by a reset.
#[test]
fn a_director_that_has_read_enough() {
    let stage = Stage::new();
    let tar = vec![7; 64 << 20];
    let _docker = Server::unix(&socket(&stage), move |_| Reply::Full(200, tar.clone()));
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
    let ended = stage.run("collect", &collect(&url, &[("large", "worker.1")]));
    director.join().unwrap();
    let expected = format!("worker.1: the Director at `{url}` answered 413: too large");
    assert_eq!(ended.problem(), expected);
}

#[test]
fn docker_is_not_there() {
    let stage = Stage::new();
    let director = director();
    let socket = socket(&stage).display().to_string();
    let words = format!("cannot reach Docker at `{socket}`: no such file or directory");
    let ended = stage.run("collect", &collect(&director.url, &[("x", "worker.1")]));
    assert_eq!(ended.problem(), format!("worker.1: {words}"));
}

/// Counters that grow by half a processor's time between two looks.
fn counters(looks: &AtomicUsize) -> Value {
    let look = looks.fetch_add(1, Ordering::SeqCst) as u64;
    json!({ "cpu_stats": {
        "cpu_usage": { "total_usage": look * 500_000_000 },
        "system_cpu_usage": look * 4_000_000_000,
        "online_cpus": 4,
    }})
}

#[test]
fn watching_goes_on_until_sigterm_whoever_does_not_answer() {
    let (stage, looks) = (Stage::new(), AtomicUsize::new(0));
    let docker = Server::unix(&socket(&stage), move |request| {
        let labels = |role| json!({ "com.atq.role": role, "com.docker.swarm.task.name": format!("t-{role}.2.xyz") });
        let body = match request.line.split(['?', ' ']).nth(1) {
            Some("/containers/json") => json!([
                { "Id": "c1", "Labels": labels("worker") },
                { "Id": "c2", "Labels": labels("discovery") },
            ]),
            Some("/containers/c1/stats") => counters(&looks),
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
    let child = stage.start("watch", &order);
    let begun = std::time::Instant::now();
    while director.seen("POST").len() < 2 {
        assert!(begun.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let ended = Ended::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.is_done().words["work"], "watch");
    let post = &director.seen("POST")[1];
    assert_eq!(post.line, "POST /carrier/r1/load");
    let load: Value = serde_json::from_slice(&post.body).unwrap();
    assert_eq!(
        load["containers"],
        json!([{ "id": "c1", "source": "worker.2", "percent": 50.0 }])
    );
    assert!((0.0..=100.0).contains(&load["nodePercent"].as_f64().unwrap()));
    assert!(load["cpus"].as_u64().unwrap() > 0 && load["at"].as_i64().unwrap() > 0);
    let listed = &docker.seen("GET /containers/json")[0].line;
    assert!(listed.contains("com.atq.run%3Dr1"), "{listed}");
}
