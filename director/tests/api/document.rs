//! The OpenAPI description: it matches the committed file, its content is valid, and its pages are served.

use crate::fixture::Director;
use atq_api_spec::bundle::Upload;
use atq_api_spec::error::Problem;
use atq_api_spec::health::Readiness;
use atq_api_spec::live::LiveTask;
use atq_api_spec::swarm::SwarmDetails;
use atq_api_spec::task::{LogEntry, TaskAccepted, TaskPayload, TaskRefused};
use atq_api_spec::token::{TokenCreate, TokenExchange};
use atq_director::api::openapi::document;
use axum::http::{StatusCode, header};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

const UPDATE: &str = "ATQ_UPDATE_OPENAPI";

/// Compares a committed file with the generated text, or updates it.
pub fn check_committed(file: &str, generate: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let mut committed = std::fs::read_to_string(&path).unwrap_or_default();
    let text = generate(&committed);
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
        committed.clone_from(&text);
    }
    assert!(
        committed == text,
        "{file} differs from the generated text; update it with `make openapi`"
    );
}

#[test]
fn the_description_equals_the_committed_file() {
    check_committed("api-spec/openapi.json", |_| {
        document().to_pretty_json().unwrap() + "\n"
    });
}

#[test]
fn every_operation_is_documented_once() {
    let document = serde_json::to_value(document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let tags = [
        "databind",
        "task",
        "swarm",
        "token",
        "session",
        "monitoring",
        "health",
    ];
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(!path.starts_with("/api/") && !path.ends_with('/'), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                tags.contains(&operation["tags"][0].as_str().unwrap()),
                "{method} {path}"
            );
            assert!(
                !operation["summary"].as_str().unwrap().is_empty(),
                "{method} {path}"
            );
            operations.push(format!(
                "{} {method} {path}",
                operation["operationId"].as_str().unwrap()
            ));
        }
    }
    operations.sort();
    insta::assert_snapshot!(operations.join("\n"), @r"
    createTask put /task
    createToken post /token
    deleteDatabind delete /databind/{id}
    deleteTask delete /task/{id}
    exchangeToken post /token/exchange
    getDatabind get /databind/{id}
    getHealth get /healthz
    getMetrics get /metrics
    getReadiness get /readyz
    getSession get /session
    getSwarm get /swarm
    getTask get /task/{id}
    getTaskContainerMetrics get /task/{id}/container-metrics
    getTaskEvents get /task/{id}/events
    getTaskLive get /task/{id}/live
    getTaskLogs get /task/{id}/logs
    getTaskManifest get /task/{id}/manifest
    getTaskReport get /task/{id}/report
    getTaskResults get /task/{id}/results
    listDatabind get /databind/list
    listTasks get /task
    listTokens get /token
    ping get /monitoring/ping
    renewLease post /task/{id}/lease
    revokeToken delete /token/{id}
    stopTask post /task/{id}/stop
    uploadDatabind post /databind/upload
    ");
    let ids: BTreeSet<&str> = operations
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(ids.len(), operations.len());
}

/// Every referenced schema exists.
#[test]
fn all_references_resolve() {
    let document = serde_json::to_value(document()).unwrap();
    let mut references = Vec::new();
    collect(&document, "$ref", &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

fn collect<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key));
            fields.values().for_each(|value| collect(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        _ => {}
    }
}

/// All examples are valid requests or responses.
#[test]
fn the_examples_are_valid() {
    let document = serde_json::to_value(document()).unwrap();
    let mut checked = 0;
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let answers = operation["responses"].as_object().unwrap().values();
            for body in answers.chain(operation.get("requestBody")) {
                for media in body["content"]
                    .as_object()
                    .into_iter()
                    .flat_map(|content| content.values())
                {
                    checked += usize::from(check_example(media));
                }
            }
        }
    }
    assert!(checked >= 8, "{checked}");
}

fn check_example(media: &Value) -> bool {
    let Some(example) = media.get("example").cloned() else {
        return false;
    };
    let reference = media["schema"]["$ref"]
        .as_str()
        .or(media["schema"]["items"]["$ref"].as_str());
    let example = if example.is_array() {
        example[0].clone()
    } else {
        example
    };
    let name = reference.and_then(|reference| reference.rsplit('/').next());
    match name {
        None => assert!(example.is_string()),
        Some("TaskPayload") => drop(serde_json::from_value::<TaskPayload>(example).unwrap()),
        Some("TaskAccepted") => drop(serde_json::from_value::<TaskAccepted>(example).unwrap()),
        Some("TaskRefused") => drop(serde_json::from_value::<TaskRefused>(example).unwrap()),
        Some("SwarmDetails") => drop(serde_json::from_value::<SwarmDetails>(example).unwrap()),
        Some("TokenExchange") => drop(serde_json::from_value::<TokenExchange>(example).unwrap()),
        Some("TokenCreate") => drop(serde_json::from_value::<TokenCreate>(example).unwrap()),
        Some("Upload") => drop(serde_json::from_value::<Upload>(example).unwrap()),
        Some("Readiness") => drop(serde_json::from_value::<Readiness>(example).unwrap()),
        Some("StreamedEvent") => {
            let data = example["data"].as_str().unwrap();
            drop(serde_json::from_str::<atq_api_spec::task::TaskEvent>(data).unwrap());
        }
        Some("StreamedLiveTask") => {
            let data = example["data"].as_str().unwrap();
            drop(serde_json::from_str::<LiveTask>(data).unwrap());
        }
        Some("LiveTask") => drop(serde_json::from_value::<LiveTask>(example).unwrap()),
        Some("LogEntry") => drop(serde_json::from_value::<LogEntry>(example).unwrap()),
        Some("Problem") => drop(serde_json::from_value::<Problem>(example).unwrap()),
        Some(other) => panic!("no check for examples of {other}"),
    }
    true
}

#[tokio::test]
async fn the_pages_of_the_description_are_served() {
    let director = Director::new().await;
    let document = director.get("/api-docs/openapi.json").await;
    assert_eq!(document.status, StatusCode::OK);
    assert_eq!(document.json()["info"]["title"], "ATQ Director");
    let page = director.get("/swagger-ui/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text().contains("https://"), "{}", page.text());
    for part in [
        "swagger-ui-bundle.js",
        "swagger-ui.css",
        "swagger-initializer.js",
    ] {
        let part = director.get(&format!("/swagger-ui/{part}")).await;
        assert_eq!(part.status, StatusCode::OK);
        assert!(!part.body.is_empty());
    }
    let settings = director
        .get("/swagger-ui/swagger-initializer.js")
        .await
        .text();
    assert!(settings.contains("validatorUrl: 'none'"), "{settings}");
    let short = director.get("/swagger-ui").await;
    assert_eq!(short.headers[header::LOCATION], "/swagger-ui/");
}
