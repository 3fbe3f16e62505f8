//! Artillery's JSON reports.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]

mod summaries;

use serde_json::json;
use summaries::*;

const REPORT: &str = "artillery/report.json";
const PLUGINS: &str = "artillery/report-plugins.json";
const FIRST: &str = "artillery/report-1.7.9.json";
const LEGACY: &str = "artillery/report-legacy.json";
const NO_TIMES: [&str; 10] = [
    "throughput",
    "min",
    "mean",
    "p50",
    "p90",
    "p95",
    "p99",
    "max",
    "receivedBytes",
    "sentBytes",
];

#[test]
fn every_figure_of_artillery_2_is_reported() {
    let (source, report) = sound(REPORT);
    assert_eq!((source.format.as_str(), source.samples), ("artillery", 414));
    let total = json!({
        "samples": 414, "errors": 30, "min": 0, "max": 642, "mean": 29.3, "p50": 6, "p90": 56.3,
        "p95": 100.5, "p99": 468.8, "throughput": 414.0 / 15.027, "receivedBytes": 4147,
    });
    assert_figures("total", &report.total, &total, &["sentBytes"]);
    let names: Vec<&str> = report
        .labels
        .iter()
        .map(|label| label.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["/fail", "/home", "/login (log in)", "/slow", ":9/home"]
    );
    let login = json!({
        "samples": 96, "errors": 0, "min": 0, "max": 134, "mean": 7.3, "p50": 1, "p90": 19.9,
        "p95": 30.9, "p99": 63.4,
    });
    let missing = ["throughput", "receivedBytes", "sentBytes"];
    assert_figures("login", label(&report, "/login (log in)"), &login, &missing);
    let fail = json!({"samples": 23, "errors": 23, "max": 73, "p99": 54.1});
    assert_figures("fail", label(&report, "/fail"), &fail, &missing);
    let refused = json!({"samples": 7, "errors": 7});
    assert_figures("refused", label(&report, ":9/home"), &refused, &NO_TIMES);
    let kinds: Vec<(&str, u64)> = report
        .errors
        .iter()
        .map(|kind| (kind.code.as_str(), kind.count))
        .collect();
    assert_eq!(kinds, [("500", 23), ("ECONNREFUSED", 7)]);
    assert_eq!(report.series.interval, 10.0);
    let points: Vec<(u64, u64)> = report
        .series
        .points
        .iter()
        .map(|point| (point.at, point.samples))
        .collect();
    let wanted = [
        (1_795_877_650_000, 36),
        (1_795_877_660_000, 278),
        (1_795_877_670_000, 100),
    ];
    assert_eq!(points, wanted);
    assert_eq!((report.duration, report.series.points[0].p99), (15.0, 76.0));
    assert_truncation_is_reported(REPORT, &[30, 50, 80, 99]);
}

#[test]
fn plugins_make_no_difference() {
    let (_, report) = sound(PLUGINS);
    let total = json!({
        "samples": 468, "errors": 28, "min": 0, "max": 70, "mean": 9.8, "p50": 1, "p90": 32.1,
        "p95": 34.8, "p99": 40.9, "throughput": 468.0 / 11.956, "receivedBytes": 4730,
    });
    assert_figures("total", &report.total, &total, &["sentBytes"]);
    assert_eq!(label(&report, "/slow").p95, 40.9);
    assert_eq!(report.series.points.len(), 2);
}

#[test]
fn every_figure_of_artillery_1_is_reported() {
    let (_, report) = sound(FIRST);
    // Mean and p90 of the 497 single latencies.
    let total = json!({
        "samples": 506, "errors": 31, "min": 0, "max": 146, "p50": 3, "p95": 46.3, "p99": 78.6,
        "throughput": 32.77, "mean": 7994.0 / 497.0, "p90": 36,
    });
    assert_figures(
        "total",
        &report.total,
        &total,
        &["receivedBytes", "sentBytes"],
    );
    assert_eq!(report.errors.len(), 2);
    assert_truncation_is_reported(FIRST, &[30, 50, 99]);
}

#[test]
fn artillery_2_in_the_layout_of_artillery_1_has_no_rate() {
    let (_, report) = sound(LEGACY);
    let total = json!({
        "samples": 405, "errors": 33, "min": 0, "max": 112, "mean": 9, "p50": 1, "p90": 30.9,
        "p95": 32.1, "p99": 34.1,
    });
    let missing = ["throughput", "receivedBytes", "sentBytes"];
    assert_figures("total", &report.total, &total, &missing);
}

#[test]
fn errors_of_requests_with_a_response_are_counted_and_noted() {
    let text = r#"{"aggregate": {"counters": {"vusers.created": 5, "http.requests": 10, "http.responses": 9,
        "http.codes.200": 8, "http.codes.404": 1, "errors.ETIMEDOUT": 1, "errors.Failed capture or match": 2},
        "summaries": {}}, "intermediate": []}"#;
    let (source, report) = read("a.json", text.as_bytes());
    assert_eq!((source.problem, report.total.errors), (None, 4));
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("counted twice"))
    );
    assert_eq!(report.errors.len(), 3);
}

#[test]
fn without_http_the_virtual_users_are_counted() {
    let text = r#"{"aggregate": {"counters": {"vusers.created": 5, "vusers.completed": 4, "vusers.failed": 1, "socketio.emit": 9},
        "summaries": {"vusers.session_length": {"min": 1, "max": 9.5, "mean": 4, "median": 3, "p90": 8, "p95": 9, "p99": 9.4}}},
        "intermediate": []}"#;
    let (_, report) = read("a.json", text.as_bytes());
    let total = json!({"samples": 5, "errors": 1, "p50": 3, "max": 9.5});
    let missing = ["throughput", "receivedBytes", "sentBytes"];
    assert_figures("total", &report.total, &total, &missing);
}

#[test]
fn other_aggregates_are_not_of_artillery() {
    for text in [
        r#"{"aggregate": {"counters": {"a": 1}}}"#,
        r#"{"counters": {"vusers.created": 1}, "aggregate": {}}"#,
    ] {
        let (source, _) = read("a.json", text.as_bytes());
        assert_eq!((source.format.as_str(), source.problem), ("", None));
    }
}
