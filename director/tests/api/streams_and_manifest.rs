//! Tests of streams of events and log lines, and of the manifest.

use crate::fixture::{Director, IMAGE, SECRET, payload, request, zip};
use atq_engine::Role;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;

/// One event of a stream.
#[derive(Debug, PartialEq)]
pub struct StreamEvent {
    pub id: Option<u64>,
    pub name: String,
    pub data: Value,
}

/// The events of a stream, without its comments and its retry hint.
pub fn parse_stream(stream: &str) -> Vec<StreamEvent> {
    let field = |block: &str, name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
    };
    let blocks = stream.split("\n\n").filter(|block| block.contains("data:"));
    blocks
        .map(|block| StreamEvent {
            id: field(block, "id").map(|id| id.parse().unwrap()),
            name: field(block, "event").unwrap(),
            data: serde_json::from_str(&field(block, "data").unwrap()).unwrap(),
        })
        .collect()
}

/// The text of a whole stream.
pub async fn stream(director: &Director, path: &str, last: Option<&str>) -> String {
    let mut request = request("GET", path, Body::empty());
    let headers = request.headers_mut();
    headers.insert("accept", HeaderValue::from_static("text/event-stream"));
    if let Some(last) = last {
        headers.insert("last-event-id", last.parse().unwrap());
    }
    let answer = director.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.kind(), "text/event-stream");
    answer.text()
}

#[tokio::test(start_paused = true)]
async fn events_are_streamed_and_resumed() {
    let director = Director::new().await;
    let master = director.swarm.image(IMAGE).in_role(Role::Master);
    master.exits(0).after(Duration::from_secs(40));
    director.put(&payload("live")).await;
    let whole = stream(&director, "/task/live/events", None).await;
    assert!(whole.starts_with("retry: 2000\n\n"), "{whole}");
    assert!(
        whole.contains("\n\n:\n\n") || whole.contains("\n\n: "),
        "no keep-alive in 40 s: {whole}"
    );
    let list = director.get("/task/live/events").await.json();
    let list = list["events"].as_array().unwrap();
    let events = parse_stream(&whole);
    assert_eq!(events.len(), list.len());
    for (event, listed) in events.iter().zip(list) {
        assert_eq!(event.id, listed["id"].as_u64());
        assert_eq!(
            (&event.name, &event.data),
            (&listed["event"].as_str().unwrap().to_owned(), listed)
        );
    }
    assert_eq!(list.last().unwrap()["data"], json!({"step": "done"}));

    // The header takes precedence: a browser resumes the same URL.
    let rest = parse_stream(&stream(&director, "/task/live/events?after=1", Some("4")).await);
    assert_eq!(rest, parse_stream(&whole)[4..]);
    let rest = parse_stream(&stream(&director, "/api/task/live/events?after=2", None).await);
    assert_eq!(rest, parse_stream(&whole)[2..]);
    assert_eq!(
        parse_stream(&stream(&director, "/task/live/events", Some("9999")).await),
        []
    );
    let listed = director.get("/task/live/events?after=2").await.json();
    assert_eq!(listed["events"].as_array().unwrap()[..], list[2..]);
}

#[tokio::test]
async fn an_invalid_last_event_id_is_refused() {
    let director = Director::new().await;
    director.put(&payload("bad")).await;
    for bad in ["x", "-1", "1.5"] {
        let mut request = request("GET", "/task/bad/events", Body::empty());
        let headers = request.headers_mut();
        headers.insert("accept", HeaderValue::from_static("text/event-stream"));
        headers.insert("last-event-id", HeaderValue::from_static(bad));
        let answer = director.send(request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let error = answer.error();
        assert!(
            error.contains(&format!("`Last-Event-ID` is `{bad}`; expected")),
            "{error}"
        );
    }
    let answer = director.get("/task/bad/events?after=x").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        director.get("/task/nobody/events").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_task_is_the_last_event() {
    let director = Director::new().await;
    director.put(&payload("gone")).await;
    director
        .until("gone", |task| task["step"] == "running")
        .await;
    let received = stream(&director, "/task/gone/events", None);
    let deleted = director.call("DELETE", "/task/gone");
    let (received, deleted) = tokio::join!(received, deleted);
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let last = parse_stream(&received).pop().unwrap();
    assert_eq!((last.name.as_str(), last.id), ("deleted", None));
}

#[tokio::test(start_paused = true)]
async fn log_lines_are_followed_as_text_and_as_json() {
    let director = Director::new().await;
    let image = |role| director.swarm.image(IMAGE).in_role(role);
    image(Role::Worker).prints(&["ready"]);
    let master = image(Role::Master)
        .prints(&["begin"])
        .exits(0)
        .after(Duration::from_secs(5));
    master.prints_after(Duration::from_secs(4), "end");
    director.put(&payload("lines")).await;
    let text = director.get("/task/lines/logs?follow=1");
    let json = director.get_as(
        "/task/lines/logs?follow=true&service=master",
        "application/x-ndjson",
    );
    let (text, json) = tokio::join!(text, json);
    let mut lines: Vec<&str> = text
        .text()
        .leak()
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "master.1 begin",
            "master.1 end",
            "worker.1 ready",
            "worker.2 ready"
        ]
    );
    assert_eq!(json.kind(), "application/x-ndjson");
    let texts: Vec<Value> = json
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].clone())
        .collect();
    assert_eq!(texts, ["begin", "end"]);
    let bad = director.get("/task/lines/logs?follow=maybe").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        bad.error(),
        "`follow` is `maybe`; expected one of `1`, `true`, `0`, `false`"
    );
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_client_leaves_no_followed_log() {
    let director = Director::new().await;
    director.swarm.image(IMAGE).prints(&["on"]);
    director.put(&payload("left")).await;
    director
        .until("left", |task| task["step"] == "running")
        .await;
    let request = request("GET", "/task/left/logs?follow=1", Body::empty());
    let response = tower::ServiceExt::oneshot(director.router.clone(), request)
        .await
        .unwrap();
    let mut body = response.into_body().into_data_stream();
    let mut received = String::new();
    while received.lines().count() < 3 {
        received.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(director.swarm.followed_logs(), 3);
    drop(body);
    assert_eq!(director.swarm.followed_logs(), 0);

    let request = crate::fixture::request("GET", "/task/left/logs?follow=1", Body::empty());
    let response = tower::ServiceExt::oneshot(director.router.clone(), request)
        .await
        .unwrap();
    director.orchestrator.close();
    // The body is aborted, so that a client detects the truncation.
    assert!(to_bytes(response.into_body(), usize::MAX).await.is_err());
    assert_eq!(director.swarm.followed_logs(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_manifest_suffices_to_repeat_the_run_and_has_no_secret() {
    let director = Director::new().await;
    let master = director.swarm.image(IMAGE).in_role(Role::Master);
    master.exits(0).after(Duration::from_secs(5));
    let uploaded = director
        .upload("plan.zip", &zip(&[("plan.jmx", "12345")]))
        .await;
    let fileid = uploaded.json()["id"].clone();
    let mut payload = payload("again");
    payload["worker"]["fileid"] = fileid.clone();
    payload["worker"]["readiness"] = json!({"tcp": 80, "timeout": 5});
    payload["worker"]["resources"] = json!({"limits": {"cpus": 0.5, "memory": "512m"}});
    payload["worker"]["stopGracePeriod"] = json!(3);
    payload["master"]["placement"] = json!({"constraints": ["node.role==manager"]});
    payload["maxDuration"] = json!(600);
    payload["exclusive"] = json!("shop");
    director.put(&payload).await;
    let early = director.get("/task/again/manifest").await;
    assert_eq!(early.status, StatusCode::OK, "{}", early.text());
    director
        .until("again", |task| task["step"] == "running")
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let running = director.get("/task/again/manifest").await.json();
    assert_eq!(running["containers"]["worker.2"]["state"], "running");
    director.until("again", |task| task["step"] == "done").await;

    let answer = director.get("/task/again/manifest").await;
    assert!(!answer.text().contains(SECRET));
    let manifest = answer.json();
    let value = |pointer: &str| manifest.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(value("/status"), "finished");
    assert_eq!(value("/images/load:1/id"), "sha256:load:1");
    assert_eq!(
        value("/images/atq-discovery:dev/id"),
        "sha256:atq-discovery:dev"
    );
    assert_eq!(value("/nodes/node-1/engineVersion"), "20.10.24");
    assert_eq!(value("/nodes/node-1/cpus"), 2.0);
    assert_eq!(value("/containers/master.1/node"), "node-1");
    assert_eq!(value("/containers/master.1/exitCode"), 0);
    assert_eq!(value("/network/subnet"), "10.224.0.0/24");
    assert_eq!(value("/workerAddresses").as_array().unwrap().len(), 2);
    assert_eq!(
        value(&format!("/bundles/{}/files", fileid.as_str().unwrap())),
        json!([{"path": "plan.jmx", "bytes": 5}])
    );
    assert_eq!(value("/director/version"), env!("CARGO_PKG_VERSION"));
    for field in ["/startSkew", "/timings/running"] {
        assert!(value(field).is_u64(), "{field}: {manifest:#}");
    }
    assert!(value("/finishedAt").is_string());
    let environment = value("/environment");
    assert_eq!(environment[0]["name"], "PASSWORD");
    assert_eq!(environment[0]["fingerprint"], environment[1]["fingerprint"]);
    assert!(
        environment[0]["fingerprint"]
            .as_str()
            .unwrap()
            .starts_with("hmac-sha256:")
    );

    director.call("DELETE", "/task/again").await;
    let mut definition = value("/definition");
    let refused = director.put(&definition).await;
    assert_eq!(
        refused.status,
        StatusCode::EXPECTATION_FAILED,
        "a password is missing"
    );
    for service in ["master", "worker"] {
        definition[service]["environment"] = payload[service]["environment"].clone();
    }
    assert_eq!(director.put(&definition).await.status, StatusCode::OK);
    // The definition equals the submitted one.
    assert_eq!(director.put(&payload).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_failed_early_has_a_manifest() {
    let director = Director::new().await;
    let mut payload = payload("early");
    payload["worker"]["image"] = json!("nowhere:1");
    director.put(&payload).await;
    director.until("early", |task| task["step"] == "done").await;
    let manifest = director.get("/task/early/manifest").await.json();
    assert_eq!(manifest["status"], "errored");
    assert_eq!(manifest["images"]["nowhere:1"], json!({"repoDigests": []}));
    assert_eq!(manifest["failure"]["code"], "worker_failed");
    assert_eq!(
        director.get("/task/nobody/manifest").await.status,
        StatusCode::NOT_FOUND
    );
}
