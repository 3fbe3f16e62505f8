//! `atq validate` reports the same faults as the Director.

use crate::fixture::{Director, payload, request};
use atq_cli::args::Definition;
use atq_cli::definition::check;
use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// Invalid fields: a JSON pointer and a value.
fn invalid_fields() -> Vec<(&'static str, Value)> {
    let long = "x".repeat(131_072);
    vec![
        ("/name", json!(null)),
        ("/name", json!("")),
        ("/name", json!("a b")),
        ("/name", json!(5)),
        ("/nmae", json!("load")),
        ("/delay", json!(-1)),
        ("/delay", json!(1.5)),
        ("/delay", json!(86_401)),
        ("/maxDuration", json!("1h")),
        ("/delivery", json!("pull")),
        ("/onWorkerLoss", json!("Abort")),
        ("/exclusive", json!("")),
        ("/criteria", json!("p95 < 1s")),
        ("/criteria", json!(["p95 << 1s", "errors < 1%", 5])),
        (
            "/stopWhen",
            json!(["errors > 20% for 30s", "p95 < 1s for 5s", "p95 > 1s", 5]),
        ),
        ("/stopWhen", json!("errors > 20% for 30s")),
        ("/minSamples", json!(0)),
        ("/resultFiles", json!(["[", "../x"])),
        ("/waitCommand", json!("true")),
        (
            "/waitCommand",
            json!({"command": 1, "timeout": -1, "result": "x"}),
        ),
        ("/master", json!(null)),
        ("/master", json!([])),
        ("/master/alias", json!("minions")),
        ("/master/readiness", json!({"tcp": 1})),
        ("/master/split", json!([{"path": "a.csv", "header": true}])),
        ("/worker/alias", json!("-a")),
        ("/worker/alias", json!("atq-workers")),
        ("/worker/image", json!(null)),
        ("/worker/image", json!("Tool:1")),
        ("/worker/image", json!("tool@sha256:12")),
        ("/worker/args", json!("run")),
        ("/worker/args", json!(["run", null, 5, "a\u{0}b", long])),
        (
            "/worker/environment",
            json!(["A", "=b", "A=1", "A=2", "ATQ_X=1", "WORKER_CSV_VIPS=1"]),
        ),
        ("/worker/environment", json!(["A=1", "A=2"])),
        ("/worker/environment", json!([format!("A={long}")])),
        ("/worker/fileid", json!("../../etc")),
        ("/worker/fileid", json!(5)),
        ("/worker/fileid", json!("0123456789ABCDEF0123456789abcdef")),
        (
            "/worker/split",
            json!([{"path": "../a"}, {"path": "a", "header": 1}, 5]),
        ),
        ("/worker/user", json!("a b")),
        ("/worker/replicas", json!(0)),
        ("/worker/replicas", json!(1001)),
        ("/worker/replicas", json!("2")),
        ("/worker/tty", json!("yes")),
        ("/worker/networks", json!([""])),
        (
            "/worker/resources",
            json!({"limits": {"cpus": "x", "memory": "1q"}, "limit": 5}),
        ),
        (
            "/worker/resources",
            json!({"limits": {"memory": "6m"}, "reservations": {"memory": "7m"}}),
        ),
        ("/worker/placement", json!({"constraints": ["node.role"]})),
        ("/worker/placement", json!({"maxReplicasPerNode": 0})),
        (
            "/worker/labels",
            json!({"com.atq.x": "1", "a b": "1", "c": 5, "com.docker.y": null}),
        ),
        ("/worker/stopGracePeriod", json!(3601)),
        (
            "/worker/ulimits",
            json!({"nofile": 1, "stack": {"soft": 2, "hard": 1_048_576}, "cpu": 1, "core": "0"}),
        ),
        (
            "/worker/sysctls",
            json!({
                "net.ipv4.ip_local_port_range": "1-2", "net.core.somaxconn": 0, "kernel.panic": 1, "net": 1,
                "net.ipv4.tcp_tw_reuse": "1",
            }),
        ),
        ("/worker/readiness", json!({})),
        (
            "/worker/readiness",
            json!({"http": {"port": 0, "path": "x"}, "timeout": 0}),
        ),
    ]
}

/// A definition with one changed field.
fn with(pointer: &str, value: &Value) -> Value {
    let mut payload = payload("local");
    let keys = pointer.split('/').skip(1);
    *keys.fold(&mut payload, |field, key| &mut field[key]) = value.clone();
    payload
}

/// The faults reported by the Director: path and message of each.
async fn from_director(director: &Director, payload: &Value) -> Vec<(String, String)> {
    let answer = director.put(payload).await;
    assert_eq!(answer.status, StatusCode::EXPECTATION_FAILED, "{payload}");
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let text = |error: &Value, member: &str| error[member].as_str().unwrap().to_owned();
    let pairs = errors
        .iter()
        .map(|error| (text(error, "field"), text(error, "message")));
    pairs.collect()
}

/// The faults reported by the command line for a file with this text; every fault has a position.
fn found(text: &str, name: &str) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    let task = dir.path().join(name);
    std::fs::write(&task, text).unwrap();
    let args = Definition {
        task,
        ..Definition::default()
    };
    let faults = check(&args, None).unwrap().faults;
    let pairs = faults.into_iter().map(|fault| {
        assert!(fault.line.is_some() && fault.column.is_some(), "{fault:?}");
        (fault.field, fault.message)
    });
    pairs.collect()
}

#[tokio::test]
async fn every_fault_is_the_same() {
    let director = Director::new().await;
    let single: Vec<Value> = invalid_fields()
        .iter()
        .map(|(pointer, value)| with(pointer, value))
        .collect();
    let whole = [
        json!([]),
        json!("x"),
        json!(null),
        json!({}),
        json!({"worker": 5}),
    ];
    for payload in single.iter().chain(&whole) {
        let expected = from_director(&director, payload).await;
        let text = serde_json::to_string_pretty(payload).unwrap();
        assert_eq!(found(&text, "load.json"), expected, "{payload}");
        assert_eq!(
            found(&payload.to_string(), "load.yaml"),
            expected,
            "{payload}"
        );
        let block = serde_saphyr::to_string(payload).unwrap();
        assert_eq!(found(&block, "load.yaml"), expected, "{block}");
    }
}

#[tokio::test]
async fn a_valid_definition_is_accepted() {
    let director = Director::new().await;
    let payload = payload("local");
    assert_eq!(found(&payload.to_string(), "load.json"), []);
    assert_eq!(director.put(&payload).await.status, StatusCode::OK);
}

#[tokio::test]
async fn invalid_json_is_reported_with_the_same_message() {
    let director = Director::new().await;
    let texts = [
        "{\"name\": \"a\", \"name\": \"b\"}",
        "{\"worker\": {\"args\": [], \"args\": []}}",
        "{\"name\": }",
        "{\"name\": \"a\"",
        "{\"name\": 1e999}",
    ];
    for text in texts {
        let answer = director
            .send(request("PUT", "/task", Body::from(text)))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{text}");
        let found = found(text, "load.json");
        let [(field, message)] = &found[..] else {
            panic!("{text}: {found:?}");
        };
        assert_eq!(field, "", "{text}");
        let reason = message.trim_start_matches("is not JSON: ");
        let reason = reason.split("; the first is").next().unwrap();
        assert!(
            answer.error().contains(reason),
            "{text}: {message}, {}",
            answer.error()
        );
    }
}
