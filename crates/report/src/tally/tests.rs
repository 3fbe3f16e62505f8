#![allow(clippy::unwrap_used, clippy::float_cmp)]

use super::*;
use crate::errors::MAX_KINDS;
use crate::labels::OTHER;
use crate::samples::MAX_LABELS;
use crate::windows::Metric;

const HEAD: &str = "timestamp,elapsed,label,success,code,message,worker\n";
const T: u64 = 1_760_000_000_000;

fn rows(range: impl Iterator<Item = u64>, worker: &str) -> String {
    let rows = range.map(|n| {
        format!(
            "{},{n},l{},{},500,m{},{worker}\n",
            T + n,
            n % 3,
            n % 5 != 0,
            n % 2
        )
    });
    HEAD.to_owned() + &rows.collect::<String>()
}

#[test]
fn several_files_equal_one_file() {
    let mut apart = Tally::new(Options::default());
    apart
        .read("1", None, rows((0..1000).step_by(2), "a").as_bytes())
        .unwrap();
    apart
        .read("2", None, rows((1..1000).step_by(2), "b").as_bytes())
        .unwrap();
    let mut one = Tally::new(Options::default());
    one.read("1", None, rows(0..1000, "a").as_bytes()).unwrap();
    assert_eq!(apart.percentile(None, 99.9), one.percentile(None, 99.9));
    assert_eq!(
        apart.percentile(Some("l1"), 33.0),
        one.percentile(Some("l1"), 33.0)
    );
    assert_eq!(apart.percentile(Some("no"), 33.0), None);
    let (apart, one) = (apart.finish("t", "r").report, one.finish("t", "r").report);
    assert_eq!(apart.total, one.total);
    assert_eq!(apart.labels, one.labels);
    assert_eq!(apart.distribution, one.distribution);
    assert_eq!(apart.errors, one.errors);
    assert_eq!((apart.workers.len(), one.workers.len()), (2, 1));
    assert_eq!(apart.total.p50, 499.5);
    assert_eq!(apart.started_at.as_deref(), Some("2025-10-09T08:53:20Z"));
}

#[test]
fn labels_and_errors_above_their_caps_are_merged_with_a_note() {
    let rows = (0..3000).map(|n| format!("{T},1,l{n},false,{n},x,\n"));
    let text = HEAD.to_owned() + &rows.collect::<String>();
    let window = Window {
        label: Some("l2999".into()),
        metric: Metric::Mean,
        seconds: 1,
    };
    let mut tally = Tally::new(Options {
        windows: vec![window],
    });
    tally.read("x", None, text.as_bytes()).unwrap();
    let finished = tally.finish("t", "r");
    let (report, results) = (finished.report, finished.windows);
    assert_eq!(report.labels.len(), MAX_LABELS + 1);
    assert_eq!(report.labels[0].name, OTHER);
    assert_eq!(report.errors.len(), MAX_KINDS + 1);
    assert_eq!(report.errors[0].count, 2800);
    assert_eq!(report.notes.len(), 2);
    assert_eq!(results.windows[0].max.unwrap().value, 1.0);
}

#[test]
fn the_curve_never_falls_and_reaches_from_the_shortest_to_the_longest() {
    let mut tally = Tally::new(Options::default());
    tally
        .read("1", None, rows(5..9999, "a").as_bytes())
        .unwrap();
    let curve = tally.finish("t", "r").report.distribution;
    assert!((50..70).contains(&curve.len()), "{}", curve.len());
    assert!(curve.windows(2).all(|pair| pair[0].percentile < pair[1].percentile && pair[0].millis <= pair[1].millis));
    assert_eq!(
        (curve[0].millis, curve.last().unwrap().millis),
        (5.0, 9998.0)
    );
}

#[test]
fn a_failing_reader_keeps_the_samples_and_reports_the_error() {
    struct FailingReader;
    impl Read for FailingReader {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("read failed"))
        }
    }
    let text = rows(0..20_000, "a");
    let mut tally = Tally::new(Options::default());
    assert!(
        tally
            .read("x", None, text.as_bytes().chain(FailingReader))
            .is_err()
    );
    let report = tally.finish("t", "r").report;
    assert!(
        report.sources[0]
            .problem
            .as_deref()
            .unwrap()
            .contains("read failed")
    );
}
