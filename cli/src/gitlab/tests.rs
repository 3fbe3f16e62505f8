#![allow(clippy::unwrap_used)]
use super::*;

fn report() -> Report {
    let total = Figures {
        samples: 1000,
        errors: 25,
        error_percent: 2.5,
        throughput: 66.5,
        min: 1.0,
        mean: 12.25,
        p50: 10.0,
        p90: 20.0,
        p95: 30.5,
        p99: 99.0,
        max: 120.0,
        received_bytes: 30_000,
        sent_bytes: 0,
        missing: vec!["p99".to_owned(), "sentBytes".to_owned()],
    };
    Report {
        duration: 15.0,
        total,
        ..Report::default()
    }
}

#[test]
fn figures_have_the_names_of_k6() {
    insta::assert_snapshot!(document(&report()));
}

#[test]
fn without_samples_there_is_nothing_to_compare() {
    let document: Value = serde_json::from_str(&document(&Report::default())).unwrap();
    assert_eq!(document, json!({"metrics": {}}));
}

#[test]
fn figures_missing_in_the_tool_are_omitted() {
    let mut report = report();
    report.total.missing = ["errors", "throughput", "receivedBytes", "sentBytes"]
        .map(str::to_owned)
        .into();
    let document: Value = serde_json::from_str(&document(&report)).unwrap();
    let metrics = document["metrics"].as_object().unwrap();
    let names: Vec<&String> = metrics.keys().collect();
    assert_eq!(names, ["http_req_duration", "http_reqs"]);
    assert_eq!(metrics["http_reqs"], json!({"count": 1000}));
}
