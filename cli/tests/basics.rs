//! The simple commands of the compiled program, against a fake Director.
#![allow(clippy::unwrap_used)]

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Responses by method and path with query, in sequence; the last one is repeated.
type Answers = BTreeMap<String, Vec<(u16, Value)>>;

#[derive(Clone)]
struct Canned {
    answers: Arc<Answers>,
    requests: Arc<Mutex<Vec<String>>>,
    url: String,
}

/// The output of the program.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

async fn answer(State(canned): State<Canned>, request: Request) -> Response {
    let key = format!("{} {}", request.method(), request.uri());
    let before = {
        let mut requests = canned.requests.lock().unwrap();
        let before = requests.iter().filter(|request| **request == key).count();
        requests.push(key.clone());
        before
    };
    match canned.answers.get(&key) {
        Some(answers) => {
            let (status, body) = &answers[before.min(answers.len() - 1)];
            let status = StatusCode::from_u16(*status).unwrap();
            match body {
                Value::Null => status.into_response(),
                body => (status, Json(body)).into_response(),
            }
        }
        None => (
            StatusCode::NOT_FOUND,
            Json(absent("unknown_path", "unknown path")),
        )
            .into_response(),
    }
}

fn problem(error: &str) -> Value {
    json!({"error": error, "code": "some_code"})
}

fn absent(code: &str, error: &str) -> Value {
    json!({"error": error, "code": code})
}

async fn director<const N: usize>(answers: [(&str, Vec<(u16, Value)>); N]) -> Canned {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let prefixed = answers.map(|(key, answers)| (key.replace(" /", " /api/"), answers));
    let canned = Canned {
        answers: Arc::new(prefixed.into_iter().collect()),
        requests: Arc::default(),
        url: format!("http://{}", listener.local_addr().unwrap()),
    };
    let routes = Router::new().fallback(answer).with_state(canned.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    canned
}

impl Canned {
    async fn atq(&self, args: &[&str]) -> Ended {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_atq"))
            .args(args)
            .env("ATQ_URL", &self.url)
            .env("ATQ_CLI_CONFIG", "/dev/null")
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ended = Ended {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        assert!(!ended.out.contains('\x1b'), "{}", ended.out);
        ended
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn task(name: &str, status: &str, step: &str) -> Value {
    let service = json!({"id": "", "alias": "a", "fileId": "", "image": "i", "replicas": 1, "tty": false, "args": []});
    json!({
        "id": name, "status": status, "master": service, "worker": service, "delay": 0, "step": step,
        "timings": {}, "workers": [], "createdAt": "2026-03-04T12:00:00Z",
    })
}

fn ok(body: Value) -> Vec<(u16, Value)> {
    vec![(200, body)]
}

#[tokio::test]
async fn ps_combines_pages() {
    let (one, two, three) = (
        task("one", "started", "running"),
        task("two", "started", "running"),
        task("three", "started", "running"),
    );
    let director = director([
        (
            "GET /task?limit=3",
            ok(json!({"tasks": [one, two], "next": "7.two"})),
        ),
        (
            "GET /task?limit=1&after=7.two",
            ok(json!({"tasks": [three], "next": "9.three"})),
        ),
    ])
    .await;
    let ended = director.atq(&["ps", "--limit", "3", "--json"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(
        ended.json(),
        json!({"tasks": [one, two, three], "next": "9.three"})
    );
    let plain = director.atq(&["ps", "--limit", "3"]).await;
    let names: Vec<&str> = plain
        .out
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(names, ["NAME", "one", "two", "three"]);
    assert!(plain.err.contains("there are more"), "{}", plain.err);
}

#[tokio::test]
async fn ps_validates_the_status() {
    let director = director([]).await;
    let ended = director.atq(&["ps", "--status", "finnished"]).await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains("did you mean `finished`?"),
        "{}",
        ended.err
    );
    assert_eq!(director.atq(&["ps", "--limit", "0"]).await.code, 2);
    assert!(director.requests().is_empty());
}

#[tokio::test]
async fn show_prints_the_response_of_the_director() {
    let mut failed = task("load", "errored", "done");
    failed["failure"] =
        json!({"step": "workers", "code": "worker_failed", "message": "a worker failed"});
    let missing = vec![(404, problem("there is no task `other`"))];
    let director = director([
        // Compatible with the 2018 version: the status is 500, and the body has the task.
        ("GET /task/load", vec![(500, failed.clone())]),
        ("GET /task/other", missing),
    ])
    .await;
    let ended = director.atq(&["show", "load", "--json"]).await;
    assert_eq!((ended.code, ended.json()), (0, failed));
    let plain = director.atq(&["show", "load"]).await;
    assert!(
        plain
            .out
            .contains("failed in step workers: a worker failed"),
        "{}",
        plain.out
    );
    let none = director.atq(&["show", "other", "--json"]).await;
    assert_eq!((none.code, &none.json()["exitCode"]), (8, &json!(8)));
}

#[tokio::test]
async fn stop_can_wait_for_the_end() {
    let stopping = task("load", "started", "running");
    let stopped = task("load", "stopped", "cleanup");
    let done = task("load", "stopped", "done");
    let director = director([
        ("POST /task/load/stop", vec![(202, stopping.clone())]),
        (
            "GET /task/load",
            vec![(200, stopping.clone()), (200, stopped), (200, done.clone())],
        ),
    ])
    .await;
    let ended = director.atq(&["stop", "load", "--json"]).await;
    assert_eq!((ended.code, ended.json()), (0, stopping));
    assert_eq!(director.requests(), ["POST /api/task/load/stop"]);
    let ended = director.atq(&["stop", "load", "--wait", "--json"]).await;
    assert_eq!((ended.code, ended.json()), (0, done));
    let plain = director.atq(&["stop", "load", "--wait"]).await;
    assert_eq!(plain.out, "`load` is over: stopped\n");
}

#[tokio::test]
async fn force_is_sent_to_the_director() {
    let director = director([
        (
            "POST /task/load/stop?force=true",
            vec![(202, task("load", "stopped", "collect"))],
        ),
        ("DELETE /task/load?force=true", vec![(204, Value::Null)]),
    ])
    .await;
    assert_eq!(director.atq(&["stop", "load", "--force"]).await.code, 0);
    assert_eq!(director.atq(&["rm", "load", "--force"]).await.code, 0);
    assert_eq!(
        director.requests(),
        [
            "POST /api/task/load/stop?force=true",
            "DELETE /api/task/load?force=true"
        ]
    );
}

#[tokio::test]
async fn stop_shows_the_failure_of_a_failed_run() {
    let mut failed = task("load", "errored", "done");
    failed["failure"] = json!({
        "step": "running", "code": "master_exit", "message": "the master ended with exit code 3",
        "lastLines": ["no plan \u{1b}[31m"],
    });
    let director = director([("POST /task/load/stop", vec![(202, failed)])]).await;
    for args in [&["stop", "load"][..], &["stop", "load", "--wait"]] {
        let ended = director.atq(args).await;
        assert_eq!(ended.code, 0);
        assert_eq!(
            ended.out,
            "`load` is over: errored\n  `master_exit`: the master ended with exit code 3\n  | no plan \\u001b[31m\n"
        );
    }
}

#[tokio::test]
async fn rm_continues_after_a_failure_and_exits_with_the_first_one() {
    let left = "the clean-up is not over: a network is left";
    let director = director([
        ("DELETE /task/one", vec![(500, problem(left))]),
        (
            "DELETE /task/two",
            vec![(404, problem("there is no task `two`"))],
        ),
        ("DELETE /task/three", vec![(204, Value::Null)]),
    ])
    .await;
    let ended = director.atq(&["rm", "one", "two", "three", "--json"]).await;
    assert_eq!(ended.code, 4);
    assert_eq!(
        ended.json(),
        json!([
            {"name": "one", "removed": false, "error": left},
            {"name": "two", "removed": false, "error": "there is no task `two`"},
            {"name": "three", "removed": true},
        ])
    );
    let plain = director.atq(&["rm", "two", "three", "one"]).await;
    assert_eq!((plain.code, plain.out.as_str()), (8, "three\n"));
    assert!(plain.err.contains(left), "{}", plain.err);
    assert_eq!(director.requests().len(), 6);
}

fn bundle(id: &str) -> Value {
    json!({
        "id": id, "fileName": "shop.zip", "bytes": 2048, "unpackedBytes": 4096,
        "createdAt": "2026-03-04T12:00:00Z", "files": [{"path": "plan.jmx", "bytes": 4096}],
    })
}

fn with_bundle(name: &str, id: &str) -> Value {
    let mut task = task(name, "started", "running");
    task["worker"]["fileId"] = json!(id);
    task
}

#[tokio::test]
async fn bundles_are_listed_shown_and_removed() {
    let director = director([
        (
            "GET /databind/list",
            vec![
                (200, json!([{"id": "a"}, {"id": "gone"}, {"id": "b"}])),
                (204, Value::Null),
            ],
        ),
        ("GET /databind/a", ok(bundle("a"))),
        ("GET /databind/b", ok(bundle("b"))),
        (
            "GET /task?limit=1000",
            ok(json!({"tasks": [with_bundle("load", "b"), task("other", "started", "running")]})),
        ),
        ("DELETE /databind/a", vec![(204, Value::Null)]),
        (
            "DELETE /databind/b",
            vec![(409, problem("task `load` uses it"))],
        ),
    ])
    .await;
    let ended = director.atq(&["bundles", "--json"]).await;
    let used = |id: &str, by: &[&str]| {
        let mut bundle = bundle(id);
        bundle["usedBy"] = json!(by);
        bundle
    };
    assert_eq!(ended.json(), json!([used("a", &[]), used("b", &["load"])]));
    let lists = director.requests().into_iter();
    assert_eq!(lists.filter(|request| request.contains("task?")).count(), 1);
    let none = director.atq(&["bundles", "--json"]).await;
    assert_eq!((none.code, none.json()), (0, json!([])));
    let one = director.atq(&["bundles", "a"]).await;
    assert!(one.out.contains("plan.jmx"), "{}", one.out);
    assert_eq!(
        director.atq(&["bundles", "a", "--json"]).await.json(),
        used("a", &[])
    );
    let removed = director.atq(&["bundles", "a", "--rm", "--json"]).await;
    assert_eq!(
        (removed.code, removed.json()),
        (0, json!({"id": "a", "removed": true}))
    );
    let used = director.atq(&["bundles", "b", "--rm"]).await;
    assert_eq!(used.code, 8);
    assert!(used.err.contains("task `load` uses it"), "{}", used.err);
    assert_eq!(director.atq(&["bundles", "--rm"]).await.code, 2);
}

#[tokio::test]
async fn swarm_prints_tokens_only_as_json() {
    let ready = json!({"ready": true, "docker": "ok", "store": "ok", "recovery": "ok"});
    let tokens = json!({"joinTokens": {"manager": "SECRET-M", "worker": "SECRET-W"}});
    let up = director([
        ("GET /readyz", ok(ready.clone())),
        ("GET /swarm", ok(tokens.clone())),
    ])
    .await;
    let plain = up.atq(&["swarm"]).await;
    assert_eq!(plain.code, 0);
    assert!(
        !format!("{}{}", plain.out, plain.err).contains("SECRET"),
        "{}",
        plain.out
    );
    let ended = up.atq(&["swarm", "--json"]).await;
    assert_eq!(ended.json(), json!({"readiness": ready, "swarm": tokens}));

    let why = "Docker is not part of a swarm";
    let unready = json!({"ready": false, "docker": why, "store": "ok", "recovery": "ok"});
    let down = director([
        ("GET /readyz", vec![(503, unready.clone())]),
        ("GET /swarm", vec![(503, problem(why))]),
    ])
    .await;
    let ended = down.atq(&["swarm", "--json"]).await;
    assert_eq!(ended.code, 4);
    assert_eq!(
        ended.json(),
        json!({"readiness": unready, "swarm": null, "reason": why})
    );
}

#[tokio::test]
async fn swarm_shows_the_status_of_a_proxy_that_refuses() {
    let refused = || vec![(401, json!("a page of the proxy"))];
    let proxy = director([("GET /readyz", refused()), ("GET /swarm", refused())]).await;
    let ended = proxy.atq(&["swarm"]).await;
    assert_eq!(ended.code, 10);
    assert!(ended.err.contains("401"), "{}", ended.err);
}

#[tokio::test]
async fn json_output_is_always_one_document() {
    let director = director([]).await;
    for args in [
        &["run", "--json"][..],
        &["--json", "frobnicate"],
        &["results", "load", "-o", "-", "--json"],
    ] {
        let ended = director.atq(args).await;
        assert_eq!(ended.code, 2, "{}", ended.err);
        assert_eq!(ended.json()["exitCode"], 2);
    }
    // With `logs`, the error is one of the lines.
    let ended = director.atq(&["logs", "load", "--json"]).await;
    assert_eq!(ended.out.lines().count(), 1, "{}", ended.out);
    assert_eq!(ended.json()["exit"], "rejected");
}

#[tokio::test]
async fn version_needs_no_director() {
    let own = env!("CARGO_PKG_VERSION");
    let up = director([(
        "GET /api-docs/openapi.json",
        ok(json!({"info": {"version": "7.8.9"}})),
    )])
    .await;
    let plain = up.atq(&["version"]).await;
    assert_eq!(
        plain.out,
        format!("atq {own}\nDirector 7.8.9 at {}\n", up.url)
    );
    let ended = up.atq(&["version", "--json"]).await;
    assert_eq!(
        ended.json(),
        json!({"atq": own, "director": "7.8.9", "url": up.url})
    );

    let away = Canned {
        url: "http://127.0.0.1:1".to_owned(),
        ..up
    };
    let ended = away.atq(&["version", "--json"]).await;
    assert_eq!((ended.code, &ended.json()["director"]), (0, &Value::Null));
    let plain = away.atq(&["version"]).await;
    assert_eq!(plain.code, 0);
    assert!(
        plain
            .out
            .contains("no Director answers at `http://127.0.0.1:1`"),
        "{}",
        plain.out
    );
}

#[tokio::test]
async fn upload_prints_only_the_id() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), "1").unwrap();
    let path = dir.path().to_str().unwrap();
    // Gets the id from the request that the program sends to an empty Director.
    let empty = director([]).await;
    assert_eq!(empty.atq(&["upload", path]).await.code, 8);
    let requests = empty.requests();
    let id = requests
        .iter()
        .find_map(|request| request.strip_prefix("GET /api/databind/"))
        .unwrap();
    let there = director([
        (
            &format!("GET /databind/{id}"),
            vec![
                (404, absent("bundle_not_found", "no such bundle")),
                (200, bundle(id)),
            ],
        ),
        ("POST /databind/upload", ok(json!({"id": id}))),
    ])
    .await;
    let first = there.atq(&["upload", path, "--json"]).await;
    assert_eq!(first.code, 0, "{}", first.err);
    assert_eq!(
        (&first.json()["id"], &first.json()["uploaded"]),
        (&json!(id), &json!(true))
    );
    let second = there.atq(&["upload", path]).await;
    assert_eq!((second.code, second.out), (0, format!("{id}\n")));
    assert!(second.err.contains("upload skipped"), "{}", second.err);
    let uploads = there
        .requests()
        .iter()
        .filter(|request| request.starts_with("POST"))
        .count();
    assert_eq!(uploads, 1);
    let missing = there.atq(&["upload", "/no/such/directory"]).await;
    assert_eq!(missing.code, 2);
}

#[tokio::test]
async fn completions_are_valid_scripts() {
    let director = director([]).await;
    let mut read = 0;
    for shell in ["bash", "zsh", "fish"] {
        let script = director.atq(&["completions", shell]).await;
        assert_eq!(script.code, 0);
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&place, &script.out).unwrap();
        read += usize::from(reads(shell, place.path()));
    }
    assert!(read > 0, "none of the shells is installed");
    assert!(director.requests().is_empty());
}

/// Checks the syntax of a script; returns false when the shell is not installed.
fn reads(shell: &str, script: &Path) -> bool {
    match std::process::Command::new(shell)
        .arg("-n")
        .arg(script)
        .output()
    {
        Ok(output) => {
            assert!(output.status.success(), "{shell}: {output:?}");
            true
        }
        Err(_) => false,
    }
}

/// An empty container image has no certificates.
#[tokio::test]
async fn only_https_needs_the_certificates_of_the_machine() {
    let missing = tempfile::tempdir().unwrap();
    let run = async |url: &str| {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_atq"))
            .args(["--url", url, "ps"])
            .env("SSL_CERT_FILE", missing.path().join("none.pem"))
            .env("SSL_CERT_DIR", missing.path())
            .kill_on_drop(true)
            .output();
        let output = output.await.unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), err)
    };
    let canned = director([("GET /task?limit=20", ok(json!({"tasks": []})))]).await;
    let (code, err) = run(&canned.url).await;
    assert_eq!(code, Some(0), "{err}");
    let (code, err) = run("https://127.0.0.1:1").await;
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("SSL_CERT_FILE"), "{err}");
}

#[tokio::test]
async fn help_and_ls_are_commands() {
    let director = director([("GET /task?limit=20", ok(json!({"tasks": []})))]).await;
    let listed = director.atq(&["ls", "--json"]).await;
    assert_eq!(listed.json()["tasks"], json!([]));
    for (args, words) in [
        (&["help"][..], "[alias: ls]"),
        (&["help", "run"], "Usage: atq run"),
    ] {
        let help = director.atq(args).await;
        assert!(help.code == 0 && help.out.contains(words), "{}", help.out);
    }
    assert_eq!(director.atq(&["help", "nothing"]).await.code, 2);
}

#[tokio::test]
async fn a_failed_download_of_results_leaves_no_directory() {
    let director = director([(
        "GET /task/gone/results",
        vec![(404, absent("no_task", "no task"))],
    )])
    .await;
    let dir = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_atq"))
        .args(["results", "gone"])
        .current_dir(dir.path())
        .env("ATQ_URL", &director.url)
        .env("ATQ_CLI_CONFIG", "/dev/null")
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
