//! RabbitMQ PerfTest's CSV.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]

mod summaries;

use serde_json::json;
use summaries::*;

const NEVER: [&str; 5] = ["mean", "p90", "max", "receivedBytes", "sentBytes"];
const NO_ERRORS: [&str; 7] = [
    "mean",
    "p90",
    "max",
    "receivedBytes",
    "sentBytes",
    "errors",
    "errorPercent",
];

fn near(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() < 5e-4, "{ours} instead of {theirs}");
}

#[test]
fn messages_are_rates_times_intervals_and_percentiles_are_the_highest() {
    let (source, report) = sound("perftest/confirm.csv");
    assert_eq!((source.format.as_str(), source.samples), ("perftest", 4932));
    let consume =
        json!({"samples": 4932, "min": 0.283, "p50": 128.692, "p95": 246.981, "p99": 273.396});
    assert_figures("total", &report.total, &consume, &NO_ERRORS);
    assert_figures("consume", label(&report, "consume"), &consume, &NO_ERRORS);
    near(report.total.throughput, 986.177);
    let confirm = json!({"samples": 4930, "errors": 0, "errorPercent": 0, "min": 0.203, "p50": 8.689, "p95": 74.15, "p99": 114.895});
    assert_figures("confirm", label(&report, "confirm"), &confirm, &NEVER);
    near(label(&report, "confirm").throughput, 985.864);
    let publish = label(&report, "publish");
    near(publish.throughput, 985.942);
    assert_eq!((publish.samples, publish.missing.len()), (4931, 11));
    let curve: Vec<(f64, f64)> = report
        .distribution
        .iter()
        .map(|point| (point.percentile, point.millis))
        .collect();
    assert_eq!(curve[2], (75.0, 170.535));
    assert_eq!((report.duration, report.series.points.len()), (5.001, 0));
    assert_truncation_is_reported("perftest/confirm.csv", &[88, 95]);
}

#[test]
fn the_unit_of_latencies_is_in_the_header() {
    let (_, report) = sound("perftest/millis.csv");
    let consume = json!({"min": 1, "p50": 12, "p95": 71, "p99": 85});
    assert_figures("total", &report.total, &consume, &NO_ERRORS);
    assert_eq!(label(&report, "confirm").p99, 76.0);
}

#[test]
fn figures_that_are_not_measured_have_no_label() {
    let names = |name: &str| -> Vec<String> {
        let (_, report) = sound(name);
        report.labels.into_iter().map(|label| label.name).collect()
    };
    assert_eq!(names("perftest/noconfirm.csv"), ["consume", "publish"]);
    assert_eq!(names("perftest/noconsumer.csv"), ["confirm", "publish"]);
    let (_, report) = sound("perftest/backlog.csv");
    near(report.total.throughput, 1087.703);
    near(label(&report, "publish").throughput, 6506.035);
    // An id with a comma, and no consumers: the total is `confirm`.
    let (_, report) = sound("perftest/noconsumer.csv");
    let confirm = json!({"samples": 601, "errors": 0, "min": 0.329, "p50": 1.714, "p95": 12.024, "p99": 13.627});
    assert_figures("total", &report.total, &confirm, &NEVER);
    near(report.total.throughput, 200.334);
    let (_, report) = sound("perftest/mandatory.csv");
    let publish = label(&report, "publish");
    assert_eq!(publish.errors, 0);
    assert!(publish.missing.iter().all(|name| name != "errors"));
}

#[test]
fn refused_messages_are_errors_and_appended_runs_are_separate() {
    let text = String::from_utf8(fixture("perftest/confirm.csv")).unwrap();
    let refused = text.replace("570,,570,0,469", "570,,370,200,469");
    let (_, report) = read("p.csv", refused.as_bytes());
    let confirm = label(&report, "confirm");
    assert_eq!((confirm.samples, confirm.errors), (4930, 401));
    let (source, report) = read("p.csv", text.repeat(2).as_bytes());
    assert_eq!((source.problem, report.total.samples), (None, 9864));
    assert_eq!(report.duration, 10.002);
}

#[test]
fn an_unreadable_interval_is_reported() {
    let text = String::from_utf8(fixture("perftest/confirm.csv")).unwrap();
    for bad in [
        text.replace("confirm,3.025,1327", "confirm,3.025,x"),
        text.replace("confirm,3.025,1327,", "confirm,3.025,"),
    ] {
        let (source, _) = read("p.csv", bad.as_bytes());
        assert!(source.problem.unwrap().contains("1 rows cannot be read"));
    }
}
