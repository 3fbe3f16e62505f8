//! Files written by real tools, compared with the figures of these tools.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use atq_api_spec::report::{Figures, NamedFigures, Report};
use atq_report::{Options, Tally};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The report of some fixtures, each of which must be read without a problem.
fn report(names: &[&str]) -> Report {
    let mut tally = Tally::new(Options::default());
    for name in names {
        let found = tally
            .read(name, None, File::open(fixture(name)).unwrap())
            .unwrap();
        assert_eq!(found.problem, None, "{name}");
        assert!(!found.format.is_empty(), "{name}");
    }
    tally.finish("task", "run").report
}

fn json(name: &str) -> Value {
    serde_json::from_reader(File::open(fixture(name)).unwrap()).unwrap()
}

fn label<'a>(report: &'a Report, name: &str) -> &'a Figures {
    let found = report.labels.iter().find(|label| label.name == name);
    &found.unwrap_or_else(|| panic!("no `{name}`")).figures
}

/// Every figure of JMeter's dashboard; `seconds` is the time from the first start to the last end.
fn assert_as_jmeter(name: &str, ours: &Figures, theirs: &Value) {
    let number = |key: &str| {
        theirs[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{name} {key}: {theirs}"))
    };
    assert_eq!(ours.samples as f64, number("sampleCount"), "{name}");
    assert_eq!(ours.errors as f64, number("errorCount"), "{name}");
    assert_eq!(ours.min, number("minResTime"), "{name}");
    assert_eq!(ours.max, number("maxResTime"), "{name}");
    let seconds = ours.samples as f64 / ours.throughput;
    let kilobytes = |bytes: u64| bytes as f64 / 1024.0 / seconds;
    let pairs = [
        // JMeter accumulates means and stores percentages in single precision: the last digits differ.
        ("meanResTime", ours.mean, 1e-12),
        ("errorPct", ours.error_percent, 1e-6),
        ("throughput", ours.throughput, 1e-12),
        (
            "receivedKBytesPerSec",
            kilobytes(ours.received_bytes),
            1e-12,
        ),
        ("sentKBytesPerSec", kilobytes(ours.sent_bytes), 1e-12),
        ("medianResTime", ours.p50, 1e-3),
        ("pct1ResTime", ours.p90, 1e-3),
        ("pct2ResTime", ours.p95, 1e-3),
        ("pct3ResTime", ours.p99, 1e-3),
    ];
    for (key, ours, precision) in pairs {
        let theirs = number(key);
        assert!(
            (ours - theirs).abs() <= precision * theirs.abs(),
            "{name} {key}: {ours} here, {theirs} there"
        );
    }
}

#[test]
fn every_figure_is_that_of_jmeters_dashboard() {
    let report = report(&["jmeter/results.jtl"]);
    let theirs = json("jmeter/statistics.json");
    let theirs = theirs.as_object().unwrap();
    for (name, figures) in theirs {
        if name == "Total" {
            assert_as_jmeter(name, &report.total, figures);
        } else if figures["sampleCount"] != 0 {
            assert_as_jmeter(name, label(&report, name), figures);
        }
    }
    let counted = theirs
        .values()
        .filter(|figures| figures["sampleCount"] != 0)
        .count();
    assert_eq!(report.labels.len(), counted - 1);
    assert_eq!(
        report.errors.iter().map(|kind| kind.count).sum::<u64>(),
        report.total.errors
    );
    let workers = report.workers.iter().map(|worker| worker.figures.samples);
    assert_eq!(workers.sum::<u64>(), report.total.samples);
    let points = report.series.points.iter().map(|point| point.samples);
    assert_eq!(points.sum::<u64>(), report.total.samples);
    assert!(
        report
            .series
            .points
            .iter()
            .any(|point| point.active == Some(90.0))
    );
}

#[test]
fn samples_inside_of_transactions_are_their_requests_in_xml() {
    let report = report(&["jmeter/results.xml"]);
    let names: Vec<(&str, u64)> = report
        .labels
        .iter()
        .map(|NamedFigures { name, figures }| (name.as_str(), figures.samples))
        .collect();
    assert_eq!(names, [("A & B \"x\"", 10), ("Inner", 10), ("Parent", 10)]);
    // Such parents are transactions; their requests are counted.
    assert_eq!((report.total.samples, report.total.errors), (20, 10));
    let [kind] = report.errors.as_slice() else {
        panic!("{:?}", report.errors)
    };
    assert_eq!((kind.code.as_str(), kind.count), ("200", 10));
    assert!(
        kind.message.contains("Response was null"),
        "{}",
        kind.message
    );
    assert_eq!(report.workers.len(), 1);
}

#[test]
fn locusts_files_are_read_together() {
    let report = report(&[
        "locust/l_failures.csv",
        "locust/l_stats_history.csv",
        "locust/l_stats.csv",
        "locust/l_exceptions.csv",
    ]);
    assert_eq!((report.total.samples, report.total.errors), (278, 29));
    assert_eq!(
        (report.total.p50, report.total.p95, report.total.p99),
        (54.0, 62.0, 65.0)
    );
    assert_eq!(report.total.mean, 53.829992140197106);
    let names: Vec<&str> = report
        .labels
        .iter()
        .map(|label| label.name.as_str())
        .collect();
    assert_eq!(names, ["GET /", "GET Bad, \"one\""]);
    assert_eq!(
        report.total.received_bytes,
        147 * 108 + 108 + 131 * 107 + 56
    );
    assert_eq!(
        (report.errors[0].code.as_str(), report.errors[0].count),
        ("GET Bad, \"one\"", 29)
    );
    assert!(report.errors[0].message.starts_with("HTTPError('500"));
    assert_eq!(
        report
            .series
            .points
            .iter()
            .map(|point| point.samples)
            .sum::<u64>(),
        278
    );
    assert_eq!(report.series.points.last().unwrap().active, Some(4.0));
    assert!(
        report
            .distribution
            .iter()
            .any(|point| point.percentile == 99.9)
    );
    assert!(report.started_at.is_some());
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("Locust's own"))
    );
}

#[test]
fn both_summaries_of_k6_have_its_figures_and_a_note_on_missing_ones() {
    for name in ["k6/summary-export.json", "k6/handle-summary.json"] {
        let (report, theirs) = (report(&[name]), json(name));
        let value = |metric: &str, key: &str| {
            let metric = &theirs["metrics"][metric];
            metric.get("values").unwrap_or(metric)[key]
                .as_f64()
                .unwrap()
        };
        assert_eq!(report.total.samples as f64, value("http_reqs", "count"));
        assert_eq!(
            report.total.errors as f64,
            value("http_req_failed", "passes")
        );
        assert!(report.total.errors > 0, "{name}");
        assert_eq!(report.total.p95, value("http_req_duration", "p(95)"));
        assert_eq!(
            report.total.received_bytes as f64,
            value("data_received", "count")
        );
        assert_eq!(report.total.missing, ["p99"], "{name}");
        assert!(
            report
                .notes
                .iter()
                .any(|note| note.contains("did not write p99"))
        );
        assert!((4.0..4.5).contains(&report.duration), "{}", report.duration);
    }
    let report = report(&["k6/summary-export-p99.json"]);
    assert!(report.total.missing.is_empty() && report.total.p99 > 0.0);
}

#[test]
fn points_of_k6_agree_with_its_summary() {
    let summary = report(&["k6/summary-export-p99.json"]).total;
    for name in ["k6/points.csv", "k6/points.json"] {
        let report = report(&[name]);
        let total = &report.total;
        assert_eq!(
            (total.samples, total.errors),
            (summary.samples, summary.errors),
            "{name}"
        );
        assert_eq!(
            (total.received_bytes, total.sent_bytes),
            (summary.received_bytes, summary.sent_bytes)
        );
        for (ours, theirs) in [
            (total.min, summary.min),
            (total.mean, summary.mean),
            (total.p50, summary.p50),
            (total.max, summary.max),
        ] {
            assert!(
                (ours / theirs - 1.0).abs() < 2e-3,
                "{name}: {ours} and {theirs}"
            );
        }
        assert_eq!(report.labels.len(), 2);
        assert_eq!(report.labels[0].name, "Bad, \"one\"");
        assert_eq!(report.errors[0].code, "500");
    }
}

#[test]
fn samples_take_precedence_over_a_summary_of_the_same_run() {
    let report = report(&["k6/summary-export-p99.json", "k6/points.csv"]);
    assert_eq!(report.total.samples, report.sources[1].samples);
    assert!(report.notes.iter().any(|note| note.contains("not counted")));
}
