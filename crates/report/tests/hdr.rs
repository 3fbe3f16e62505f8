//! Files written by HdrHistogram, compared with figures of the library.
#![allow(clippy::unwrap_used)]

mod files;

use files::{
    assert_figures, assert_missing, assert_same_in_portions_and_packed, expected, fixture, read,
    sound,
};

const TIMES: [&str; 8] = ["samples", "min", "max", "mean", "p50", "p90", "p95", "p99"];
const LOG: &str = "hdr/interval.hlog";

#[test]
fn every_figure_of_a_log_is_that_of_the_library() {
    let (source, report) = sound(LOG);
    let theirs = &expected("hdr/expected.json")["series"];
    assert_eq!((source.format.as_str(), source.samples), ("hdr", 1183));
    assert_figures(&report.total, &theirs["*"], &TIMES, 1e-6);
    assert_figures(&report.total, &theirs["*"], &["throughput"], 1e-6);
    let missing = ["errors", "errorPercent", "receivedBytes", "sentBytes"];
    assert_missing(&report.total, &missing);
    assert!((report.duration - 4.998).abs() < 1e-9);
    let names: Vec<&str> = report
        .labels
        .iter()
        .map(|label| label.name.as_str())
        .collect();
    assert_eq!(names, ["(no tag)", "read", "write"]);
    for label in &report.labels {
        let theirs = &theirs[label.name.replace("(no tag)", "")];
        assert_figures(&label.figures, theirs, &TIMES, 1e-6);
        assert_figures(&label.figures, theirs, &["throughput"], 1e-6);
    }
    let curve = report.distribution;
    assert!(
        curve
            .iter()
            .any(|point| point.percentile == 50.0 && point.millis == 1.813)
    );
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("microseconds are assumed"))
    );
}

#[test]
fn a_table_has_its_percentiles_in_both_forms() {
    let theirs = &expected("hdr/expected.json")["table"];
    let unknown = ["errors", "errorPercent", "throughput"];
    let bytes = ["receivedBytes", "sentBytes"];
    let (source, report) = sound("hdr/percentiles.txt");
    assert_eq!((source.format.as_str(), source.samples), ("hdr", 1183));
    assert_figures(&report.total, theirs, &TIMES, 1e-9);
    assert_missing(&report.total, &[&unknown[..], &bytes].concat());
    assert!(
        report
            .distribution
            .iter()
            .any(|point| point.percentile == 99.0)
    );
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("milliseconds are assumed"))
    );
    let (_, report) = sound("hdr/percentiles.csv");
    let without_mean = TIMES.map(|name| if name == "mean" { "samples" } else { name });
    assert_figures(&report.total, theirs, &without_mean, 1e-9);
    assert_missing(&report.total, &[&unknown[..], &["mean"], &bytes].concat());
}

#[test]
fn files_may_be_chunked_and_compressed() {
    for name in [LOG, "hdr/percentiles.txt", "hdr/percentiles.csv"] {
        assert_same_in_portions_and_packed(name);
    }
}

#[test]
fn truncated_files_are_reported() {
    let whole = fixture(LOG);
    let (source, report) = read(LOG, &whole[..whole.len() - 20]);
    assert_eq!(
        source.problem.as_deref(),
        Some("the last row is truncated and was ignored")
    );
    assert!((1000..1183).contains(&report.total.samples));
    for name in ["hdr/percentiles.txt", "hdr/percentiles.csv"] {
        let whole = fixture(name);
        for cut in [3, 100, 900] {
            let (source, report) = read(name, &whole[..whole.len() - cut]);
            assert!(source.problem.is_some(), "{name} {cut}");
            assert_eq!(report.total.samples, 0);
        }
    }
}

#[test]
fn an_undecodable_line_is_reported() {
    let text = String::from_utf8(fixture(LOG)).unwrap();
    let damaged = text.replacen("HISTFAAAAKZ42i2O", "HISTFAAAAKZ42i2P", 1);
    let (source, report) = read(LOG, damaged.as_bytes());
    let problem = source.problem.unwrap();
    assert!(
        problem.contains("its histogram cannot be decoded"),
        "{problem}"
    );
    assert!((1000..1183).contains(&report.total.samples));
    let of_fractions = text.replacen("HISTFAAAAKZ42", "DHISTwAAAAMAA", 1);
    let problem = read(LOG, of_fractions.as_bytes()).0.problem.unwrap();
    assert!(
        problem.contains("its encoding is not version 2"),
        "{problem}"
    );
}

#[test]
fn a_log_is_detected_without_its_comments() {
    let text = String::from_utf8(fixture(LOG)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with(['#', '"']));
    let bare = lines.collect::<Vec<&str>>().join("\r\n") + "\r\n";
    let (source, report) = read("a.log", bare.as_bytes());
    assert_eq!((source.problem, report.total.samples), (None, 1183));
    let (source, report) = read("a.log", &text.as_bytes()[..260]);
    assert_eq!((source.format.as_str(), report.total.samples), ("hdr", 0));
    for other in [
        "#[StartTime: 1 (seconds since epoch)]\na,b\n",
        "0.0,1.0,2.0,x\n",
    ] {
        assert_eq!(read("a.log", other.as_bytes()).0.format, "", "{other}");
    }
}

#[test]
fn times_of_unknown_unit_are_missing() {
    let text = String::from_utf8(fixture(LOG)).unwrap();
    // The longest time converted to seconds.
    let other = text.replace(",70.655,", ",500.000,");
    let (source, report) = read(LOG, other.as_bytes());
    assert_eq!((source.problem, report.total.samples), (None, 1183));
    for name in ["min", "mean", "p50", "p90", "p95", "p99", "max"] {
        assert!(report.total.missing.contains(&name.to_owned()), "{name}");
    }
    assert!(report.distribution.is_empty() && report.total.throughput > 0.0);
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("response times are unknown"))
    );
}
