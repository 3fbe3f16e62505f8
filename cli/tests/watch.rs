//! `atq watch` and `atq wait` of the compiled program, against a fake Director.
#![allow(clippy::unwrap_used)]

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The state of the fake Director.
#[derive(Debug)]
struct Canned {
    task: Value,
    /// The events of the stream of figures; `None`: an earlier version without it.
    live: Option<Vec<Value>>,
    polls: u32,
    stops: u32,
}

type Shared = Arc<Mutex<Canned>>;

struct Director {
    url: String,
    canned: Shared,
}

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn absent(code: &str) -> Response {
    let problem = json!({"error": "there is none", "code": code});
    (StatusCode::NOT_FOUND, Json(problem)).into_response()
}

async fn show(State(canned): State<Shared>, Path(name): Path<String>) -> Response {
    let mut canned = canned.lock().unwrap();
    canned.polls += 1;
    match canned.task["id"] == name {
        true => Json(canned.task.clone()).into_response(),
        false => absent("task_not_found"),
    }
}

async fn stop(State(canned): State<Shared>) -> StatusCode {
    canned.lock().unwrap().stops += 1;
    StatusCode::ACCEPTED
}

async fn live(State(canned): State<Shared>) -> Response {
    let Some(events) = canned.lock().unwrap().live.clone() else {
        return absent("unknown_path");
    };
    let text: String = events
        .iter()
        .map(|event| format!("event: live\ndata: {event}\n\n"))
        .collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

async fn report() -> Json<Value> {
    let figures = |name: &str, samples: u64| {
        json!({
            "name": name, "samples": samples, "errors": 3, "errorPercent": 1.0, "throughput": 41.8, "min": 1.0, "mean": 12.0,
            "p50": 10.0, "p90": 20.0, "p95": 25.0, "p99": 80.0, "max": 113.0, "receivedBytes": 0, "sentBytes": 0,
        })
    };
    Json(json!({
        "task": "load", "run": "x1", "sources": [], "duration": 7.2, "total": figures("", 300),
        "labels": [figures("GET /", 200), figures("Login", 100)], "series": {"interval": 1.0, "points": []},
    }))
}

async fn director(task: Value, live_events: Option<Vec<Value>>) -> Director {
    let canned = Arc::new(Mutex::new(Canned {
        task,
        live: live_events,
        polls: 0,
        stops: 0,
    }));
    let routes = Router::new()
        .route("/api/task/{id}", get(show))
        .route("/api/task/{id}/stop", post(stop))
        .route("/api/task/{id}/live", get(live))
        .route("/api/task/{id}/report", get(report))
        .fallback(async || absent("unknown_path"))
        .with_state(canned.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Director { url, canned }
}

impl Director {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atq"));
        command
            .args(args)
            .env("ATQ_URL", &self.url)
            .env("ATQ_CLI_CONFIG", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn atq(&self, args: &[&str]) -> Ended {
        ended(self.command(args).spawn().unwrap()).await
    }

    /// Waits until the state was requested this often.
    async fn polled(&self, times: u32) {
        let begun = Instant::now();
        while self.canned.lock().unwrap().polls < times {
            assert!(begun.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn task(changes: Value) -> Value {
    let service = json!({"id": "", "alias": "a", "fileId": "", "image": "i", "replicas": 1, "tty": false, "args": []});
    let mut task = json!({
        "id": "load", "status": "finished", "master": service, "worker": service, "delay": 0, "step": "done",
        "timings": {}, "workers": [], "createdAt": "2026-03-04T12:00:00Z",
    });
    for (name, value) in changes.as_object().unwrap() {
        task[name] = value.clone();
    }
    task
}

fn running() -> Value {
    task(json!({"status": "started", "step": "running"}))
}

fn figures(is_final: bool) -> Value {
    json!({
        "task": "load", "status": "started", "step": "running", "elapsedMs": 5000, "maxDurationMs": 60_000,
        "workers": {"wanted": 2, "running": 1, "lost": [{"replica": 2, "reason": "killed"}]}, "isFinal": is_final,
    })
}

#[tokio::test]
async fn a_task_that_is_over_has_the_exit_code_that_its_run_had() {
    let criteria = json!({"verdict": "fail", "criteria": [
        {"criterion": "p95 < 20ms", "holds": false, "seen": "25 ms", "wanted": "< 20 ms"}
    ]});
    let failure = json!({"step": "running", "code": "master_exit", "message": "exit code 3"});
    for (changes, code, word) in [
        (json!({"verdict": "pass"}), 0, "PASS load"),
        (
            json!({"verdict": "fail", "judgement": criteria}),
            1,
            "FAILED p95 < 20ms",
        ),
        (
            json!({"status": "stopped", "verdict": "fail", "judgement": criteria}),
            1,
            "FAIL load",
        ),
        (
            json!({"status": "errored", "failure": failure}),
            3,
            "TOOL FAILED load",
        ),
        (
            json!({"status": "stopped", "verdict": "invalid"}),
            6,
            "STOPPED load",
        ),
        (json!({"verdict": "invalid"}), 7, "INVALID load"),
    ] {
        let director = director(task(changes.clone()), None).await;
        for command in ["watch", "wait"] {
            let ended = director.atq(&[command, "load"]).await;
            assert_eq!(ended.code, code, "{command} {changes}: {}", ended.err);
            assert!(
                ended.out.contains(word),
                "{command} {changes}: {}",
                ended.out
            );
            let report = format!("report: {}/api/task/load/report\n", director.url);
            assert!(ended.out.ends_with(&report), "{}", ended.out);
            assert_eq!(ended.err, "");
        }
    }
}

#[tokio::test]
async fn the_final_figures_are_shown_also_without_criteria() {
    let director = director(task(json!({})), None).await;
    let ended = director.atq(&["watch", "load"]).await;
    let shown = ended.out.replace(&director.url, "[url]");
    insta::assert_snapshot!(shown, @"
    PASS load (exit code 0)

    times in ms  samples  errors  per s  mean   p50   p90   p95   p99  max
    GET /            200   1.00%   41.8  12.0  10.0  20.0  25.0  80.0  113
    Login            100   1.00%   41.8  12.0  10.0  20.0  25.0  80.0  113
    total            300   1.00%   41.8  12.0  10.0  20.0  25.0  80.0  113
    report: [url]/api/task/load/report
    ");
    let quiet = director.atq(&["wait", "load"]).await;
    assert_eq!(quiet.out.lines().count(), 2, "{}", quiet.out);
}

#[tokio::test]
async fn a_running_task_is_watched_until_its_end_at_new_and_old_directors() {
    for live in [Some(vec![figures(false), figures(true)]), None] {
        let has_figures = live.is_some();
        let director = director(running(), live).await;
        let mut child = director.command(&["watch", "load"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let awaited = match has_figures {
            true => "worker 2 lost: killed",
            false => "the test runs",
        };
        while !lines.next_line().await.unwrap().unwrap().contains(awaited) {}
        director.canned.lock().unwrap().task = task(json!({"verdict": "fail"}));
        let drained =
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let ended = ended(child).await;
        drained.await.unwrap();
        assert_eq!(ended.code, 1, "{}", ended.out);
        assert!(ended.out.contains("total"), "{}", ended.out);
        assert_eq!(director.canned.lock().unwrap().stops, 0);
    }
}

#[tokio::test]
async fn wait_is_quiet_until_the_end_or_its_timeout() {
    let director = director(running(), Some(vec![figures(false)])).await;
    let child = director.command(&["wait", "load"]).spawn().unwrap();
    director.polled(2).await;
    director.canned.lock().unwrap().task = task(json!({"verdict": "invalid"}));
    let ended = ended(child).await;
    assert_eq!((ended.code, ended.err.as_str()), (7, ""));

    director.canned.lock().unwrap().task = running();
    let ended = director.atq(&["wait", "load", "--timeout", "300ms"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (5, ""));
    assert!(
        ended
            .err
            .starts_with("timeout of 300ms reached (`--timeout`); the task keeps running"),
        "{}",
        ended.err
    );
    let ended = director
        .atq(&["wait", "load", "--timeout", "300ms", "--json"])
        .await;
    let outcome: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&outcome["exitCode"], &outcome["task"]["status"]),
        (&json!(5), &json!("started"))
    );
    assert_eq!(director.canned.lock().unwrap().stops, 0);
}

#[tokio::test]
async fn a_signal_ends_only_the_watch() {
    for (command, signal) in [("watch", "INT"), ("watch", "TERM"), ("wait", "INT")] {
        let director = director(running(), Some(vec![figures(false)])).await;
        let child = director.command(&[command, "load"]).spawn().unwrap();
        director.polled(2).await;
        let id = child.id().unwrap().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
        let ended = ended(child).await;
        assert_eq!(ended.code, 6, "{command} {signal}: {}", ended.err);
        assert!(
            ended.err.contains("the task keeps running"),
            "{}",
            ended.err
        );
        assert_eq!(director.canned.lock().unwrap().stops, 0);
    }
}

#[tokio::test]
async fn a_task_that_does_not_exist_is_an_error() {
    let director = director(running(), None).await;
    for command in ["watch", "wait"] {
        let ended = director.atq(&[command, "other"]).await;
        assert_eq!(ended.code, 8, "{}", ended.err);
        assert!(
            ended.err.starts_with("error: there is none"),
            "{}",
            ended.err
        );
    }
}

#[tokio::test]
async fn the_json_document_is_that_of_a_run() {
    let director = director(task(json!({"verdict": "fail"})), None).await;
    for command in ["watch", "wait"] {
        let ended = director.atq(&[command, "load", "--json"]).await;
        let outcome: Value = serde_json::from_str(&ended.out).unwrap();
        let names: Vec<&String> = outcome.as_object().unwrap().keys().collect();
        assert_eq!(names, ["exit", "exitCode", "task", "verdict"]);
        assert_eq!((ended.code, &outcome["exitCode"]), (1, &json!(1)));
    }
}
