//! JMeter's own summaries: dashboard, Aggregate Report and Summary Report.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]

mod summaries;

use serde_json::{Value, json};
use summaries::*;

const DASHBOARD: &str = "jmeter-summary/statistics.json";
const AGGREGATE: &str = "jmeter-summary/aggregate.csv";
const SUMMARY: &str = "jmeter-summary/summary.csv";
const LABELS: [&str; 6] = ["Fail", "Home", "Login", "Login-0", "Login-1", "Visit"];

fn names(report: &atq_report::Report) -> Vec<&str> {
    report
        .labels
        .iter()
        .map(|label| label.name.as_str())
        .collect()
}

#[test]
fn every_figure_of_the_dashboard_is_reported() {
    let (source, report) = sound(DASHBOARD);
    assert_eq!(
        (source.format.as_str(), source.samples),
        ("jmeter-summary", 300)
    );
    let theirs: Value = serde_json::from_slice(&fixture(DASHBOARD)).unwrap();
    let wanted = |name: &str| {
        let of = &theirs[name];
        json!({
            "samples": of["sampleCount"], "errors": of["errorCount"], "errorPercent": of["errorPct"],
            "min": of["minResTime"], "mean": of["meanResTime"], "max": of["maxResTime"],
            "p50": of["medianResTime"], "p90": of["pct1ResTime"], "p95": of["pct2ResTime"],
            "p99": of["pct3ResTime"], "throughput": of["throughput"],
        })
    };
    assert_figures("Total", &report.total, &wanted("Total"), &[]);
    // The values in the samples of this run.
    assert_eq!(
        (report.total.received_bytes, report.total.sent_bytes),
        (64440, 44040)
    );
    assert_eq!(names(&report), LABELS);
    for name in LABELS {
        assert_figures(name, label(&report, name), &wanted(name), &[]);
    }
    assert!((report.duration - 300.0 / 164.024_056_861_673_05).abs() < 1e-9);
    assert_truncation_is_reported(DASHBOARD, &[30, 60, 95]);
}

#[test]
fn an_older_dashboard_has_no_median_and_an_empty_one_no_times() {
    let text = String::from_utf8(fixture(DASHBOARD)).unwrap();
    let old: String = text
        .lines()
        .filter(|line| !line.contains("medianResTime"))
        .collect();
    let (source, report) = read("statistics.json", old.as_bytes());
    assert_eq!(
        (source.problem, report.total.missing),
        (None, vec!["p50".to_owned()])
    );
    let none = r#"{"Total": {"transaction": "Total", "sampleCount": 0, "errorCount": 0, "meanResTime": "NaN",
        "minResTime": "Infinity", "pct1ResTime": "NaN", "throughput": "NaN"}}"#;
    let (source, report) = read("statistics.json", none.as_bytes());
    assert_eq!(
        (source.format.as_str(), source.problem),
        ("jmeter-summary", None)
    );
    assert_eq!(report.total.samples, 0);
}

#[test]
fn every_figure_of_the_aggregate_report_is_reported() {
    let (source, report) = sound(AGGREGATE);
    assert_eq!(
        (source.format.as_str(), source.samples),
        ("jmeter-summary", 360)
    );
    let missing = ["receivedBytes", "sentBytes"];
    let total = json!({
        "samples": 360, "errors": 120, "errorPercent": 100.0 / 3.0, "min": 1, "mean": 7, "max": 65,
        "p50": 6, "p90": 14, "p95": 16, "p99": 23, "throughput": 179.10448,
    });
    assert_figures("TOTAL", &report.total, &total, &missing);
    assert_eq!(names(&report), LABELS);
    let login = json!({
        "samples": 60, "errors": 0, "errorPercent": 0, "min": 3, "mean": 9, "max": 24,
        "p50": 8, "p90": 15, "p95": 16, "p99": 19, "throughput": 35.02627,
    });
    assert_figures("Login", label(&report, "Login"), &login, &missing);
    assert_eq!(label(&report, "Visit").errors, 60);
    assert_truncation_is_reported(AGGREGATE, &[50, 80, 88, 95]);
}

#[test]
fn every_figure_of_the_summary_report_is_reported() {
    let (source, report) = sound(SUMMARY);
    assert_eq!(
        (source.format.as_str(), source.samples),
        ("jmeter-summary", 360)
    );
    let missing = ["p50", "p90", "p95", "p99", "sentBytes"];
    let total = json!({
        "samples": 360, "errors": 120, "errorPercent": 100.0 / 3.0, "min": 1, "mean": 7, "max": 65,
        "throughput": 179.10448, "receivedBytes": 86508,
    });
    assert_figures("TOTAL", &report.total, &total, &missing);
    assert_eq!(names(&report), LABELS);
    let visit = json!({
        "samples": 60, "errors": 60, "min": 6, "mean": 13, "max": 65, "throughput": 30.9119,
        "receivedBytes": 22080,
    });
    assert_figures("Visit", label(&report, "Visit"), &visit, &missing);
    assert_truncation_is_reported(SUMMARY, &[50, 80, 88, 95]);
    // Without the line end, the last value may be truncated.
    let text = fixture(SUMMARY);
    let (_, report) = read(SUMMARY, &text[..text.len() - 3]);
    assert_eq!(report.total.received_bytes, 0);
    assert!(report.total.missing.contains(&"receivedBytes".to_owned()));
}

#[test]
fn other_headers_and_percentiles_of_the_aggregate_report_are_supported() {
    let old = "Label,# Samples,Average,Median,80% Line,90% Line,Min,Maximum,Error %,Throughput,KB/sec\r\n\
               a,10,5,4,6,7,1,9,50.00%,2.5/sec,1.0\r\n\
               TOTAL,20000,5,4,6,7,1,9,33.33%,90.0/min,1.0\r\n";
    let (source, report) = read("a.csv", old.as_bytes());
    assert_eq!(source.problem, None);
    let missing = ["p95", "p99", "receivedBytes", "sentBytes"];
    let total = json!({"samples": 20000, "errors": 6666, "errorPercent": 33.33, "p50": 4, "p90": 7, "max": 9, "throughput": 1.5});
    assert_figures("TOTAL", &report.total, &total, &missing);
    assert_eq!(label(&report, "a").throughput, 2.5);
    assert!(
        report
            .distribution
            .iter()
            .any(|point| (point.percentile, point.millis) == (80.0, 6.0))
    );
    assert!(report.notes.iter().any(|note| note.contains("approximate")));

    let plugin = "sampler_label,aggregate_report_count,average,aggregate_report_median,aggregate_report_90%_line,aggregate_report_95%_line,aggregate_report_99%_line,aggregate_report_min,aggregate_report_max,aggregate_report_error%,aggregate_report_rate,aggregate_report_bandwidth,aggregate_report_stddev\n\
                  TOTAL,4,5,4,6,7,8,1,9,25.00%,2.0,1.0,0.5\n\
                  TOTAL,4,5,4,6,7,8,1,9,0.25,2.0,1.0,0.5\n";
    let (source, report) = read("b.csv", plugin.as_bytes());
    assert_eq!(source.problem, None);
    // A label has the name of the last row, and a number without a percent sign is ambiguous.
    assert_eq!(label(&report, "TOTAL").errors, 1);
    let missing = ["errors", "errorPercent", "receivedBytes", "sentBytes"];
    assert_figures(
        "TOTAL",
        &report.total,
        &json!({"samples": 4, "p99": 8}),
        &missing,
    );
}

#[test]
fn several_forms_of_a_run_count_once() {
    let (dashboard, aggregate) = (fixture(DASHBOARD), fixture(AGGREGATE));
    let (summary, samples) = (fixture(SUMMARY), fixture("jmeter-summary/results.csv"));
    let mut files = [
        ("c/aggregate.csv", aggregate.as_slice()),
        ("c/statistics.json", &dashboard),
        ("c/summary.csv", &summary),
    ];
    for _ in 0..2 {
        let report = read_all(&files);
        assert_eq!((report.total.samples, report.total.p50), (300, 5.5));
        let report = read_all(&[files[0], files[2]]);
        assert_eq!((report.total.samples, report.total.p50), (360, 6.0));
        files.reverse();
    }
    let with_samples = [files[0], files[1], files[2], ("c/results.csv", &samples)];
    let report = read_all(&with_samples);
    let ignored = report
        .sources
        .iter()
        .filter(|source| source.ignored.is_some());
    assert_eq!((report.total.samples, ignored.count()), (180, 3));
}
