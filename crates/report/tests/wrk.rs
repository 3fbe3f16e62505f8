//! Output of wrk and wrk2.
#![allow(clippy::unwrap_used)]

mod files;

use files::{
    assert_figures, assert_missing, assert_same_in_portions_and_packed, fixture, read, sound,
};
use serde_json::{Value, json};

const ALWAYS_MISSING: &str = "sentBytes";

/// Checks the figures of a fixture; all others except `errorPercent` must be missing.
fn assert_known(name: &str, known: &Value, missing: &[&str]) {
    let (source, report) = sound(&format!("wrk/{name}.txt"));
    assert_eq!(source.format, "wrk", "{name}");
    let names: Vec<&str> = known
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_figures(&report.total, known, &names, 1e-9);
    assert_missing(&report.total, &[missing, &[ALWAYS_MISSING]].concat());
    assert_eq!(names.len() + missing.len(), 11, "{name}");
    let errors = report.errors.iter().map(|kind| kind.count);
    assert_eq!(errors.sum::<u64>(), report.total.errors, "{name}");
}

#[test]
fn wrk_has_percentiles_only_with_latency() {
    assert_known(
        "latency",
        &json!({"samples": 15794, "errors": 0, "throughput": 5258.42, "mean": 1.39, "max": 26.66,
            "p50": 0.98, "p90": 2.83, "p99": 6.8, "receivedBytes": 2_380_268}),
        &["min", "p95"],
    );
    assert_known(
        "fail",
        &json!({"samples": 10977, "errors": 10977, "throughput": 5478.85, "mean": 0.75661, "max": 12.35,
            "p50": 0.448, "p90": 1.54, "p99": 4.96, "receivedBytes": 1_772_093}),
        &["min", "p95"],
    );
    assert_known(
        "mixed",
        &json!({"samples": 9825, "errors": 981, "throughput": 4678.92, "mean": 1.49, "max": 18.02,
            "p50": 1.07, "p90": 3.0, "p99": 7.31, "receivedBytes": 1_488_978}),
        &["min", "p95"],
    );
    assert_known(
        "plain",
        &json!({"samples": 378, "errors": 0, "throughput": 188.86, "mean": 31.42, "max": 47.92,
            "receivedBytes": 58214}),
        &["min", "p50", "p90", "p95", "p99"],
    );
}

#[test]
fn socket_errors_are_failed_samples() {
    // 365 responses, and 19 requests without a response.
    assert_known(
        "socket-errors",
        &json!({"samples": 384, "errors": 19, "throughput": 121.31, "mean": 6.07, "max": 12.25,
            "p50": 5.77, "p90": 6.5, "p99": 11.46, "receivedBytes": 14961}),
        &["min", "p95"],
    );
    let (_, report) = sound("wrk/socket-errors.txt");
    assert_eq!(report.errors[0].message, "Socket errors: read");
    let message = "19 requests of wrk ended with a socket error";
    assert!(report.notes.iter().any(|note| note.contains(message)));
    assert!((report.duration - 3.01).abs() < 1e-9);
}

#[test]
fn wrk2_has_all_percentiles_of_its_spectrum() {
    assert_known(
        "wrk2-latency",
        &json!({"samples": 402, "errors": 0, "throughput": 100.32, "min": 1.654, "mean": 4.619, "max": 10.247,
            "p50": 4.163, "p90": 7.579, "p95": 7.875, "p99": 8.695, "receivedBytes": 73165}),
        &[],
    );
    assert_known(
        "wrk2-errors",
        &json!({"samples": 402, "errors": 402, "throughput": 100.39, "min": 2.383, "mean": 3.528, "max": 8.479,
            "p50": 3.463, "p90": 4.259, "p95": 4.663, "p99": 6.111, "receivedBytes": 74772}),
        &[],
    );
    assert_known(
        "wrk2-plain",
        &json!({"samples": 151, "errors": 0, "throughput": 50.24, "mean": 4.79, "max": 11.87,
            "receivedBytes": 27484}),
        &["min", "p50", "p90", "p95", "p99"],
    );
    let (_, report) = sound("wrk/wrk2-latency.txt");
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("400 of 402 responses"))
    );
    assert!(
        report
            .distribution
            .iter()
            .any(|point| point.percentile == 99.9)
    );
}

#[test]
fn the_calibration_of_wrk2_is_not_in_its_times() {
    assert_known(
        "wrk2-long",
        &json!({"samples": 1303, "errors": 0, "throughput": 100.15, "min": 1.794, "mean": 4.618, "max": 9.447,
            "p50": 4.103, "p90": 7.651, "p95": 7.807, "p99": 8.263, "receivedBytes": 237_148}),
        &[],
    );
    let (_, report) = sound("wrk/wrk2-long.txt");
    let message = |note: &String| note.contains("calibration") && note.contains("297 of 1303");
    assert!(report.notes.iter().any(message), "{:?}", report.notes);
}

#[test]
fn the_corrected_latencies_of_wrk2_are_used() {
    assert_known(
        "wrk2-uncorrected",
        &json!({"samples": 400, "errors": 0, "throughput": 99.66, "min": 26.207, "mean": 31.966, "max": 40.351,
            "p50": 32.031, "p90": 35.775, "p95": 36.255, "p99": 38.047, "receivedBytes": 62003}),
        &[],
    );
    let (_, report) = sound("wrk/wrk2-uncorrected.txt");
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("the corrected ones are used"))
    );
}

#[test]
fn timeouts_are_errors_but_not_additional_samples() {
    let text = String::from_utf8(fixture("wrk/socket-errors.txt")).unwrap();
    let text = text.replace("timeout 0", "timeout 7");
    let (source, report) = read("wrk.txt", text.as_bytes());
    assert_eq!(source.problem, None);
    assert_eq!((report.total.samples, report.total.errors), (384, 26));
    assert!(report.notes.iter().any(|note| note.contains("7 timeouts")));
}

#[test]
fn output_may_be_chunked_and_compressed() {
    for name in ["latency", "mixed", "wrk2-uncorrected", "wrk2-long"] {
        assert_same_in_portions_and_packed(&format!("wrk/{name}.txt"));
    }
}

#[test]
fn output_truncated_anywhere_is_reported() {
    for name in ["wrk/latency.txt", "wrk/wrk2-uncorrected.txt"] {
        let whole = fixture(name);
        for length in (100..whole.len() - 1).step_by(7) {
            let (source, report) = read(name, &whole[..length]);
            assert!(source.problem.is_some(), "{name} {length}");
            assert_eq!(report.total.samples, 0);
        }
        let (source, _) = read(name, &whole[..whole.len() - 1]);
        assert_eq!(source.problem, None);
    }
}

#[test]
fn several_runs_in_a_file_are_reported_and_other_programs_are_not_read() {
    let whole = fixture("wrk/latency.txt");
    let (source, _) = read("wrk.txt", &[whole.clone(), whole].concat());
    assert!(source.problem.unwrap().contains("several runs"));
    let autocannon = "Running 10s test @ http://localhost:3000\n10 connections\n\n";
    assert_eq!(read("out.txt", autocannon.as_bytes()).0.format, "");
}
