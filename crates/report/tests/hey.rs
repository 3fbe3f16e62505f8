//! Output of hey 0.1.5 and 0.1.4.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod tool_files;

use tool_files::{Expected, assert_figures, fixture, problem, report, sound, text};

const HOME: Expected<'_> = Expected {
    samples: 300,
    errors: 0,
    throughput: 2212.389381,
    min: 0.3,
    mean: 2.55,
    p50: 2.0,
    p90: 4.68,
    p95: 5.895,
    p99: 16.747,
    max: 31.2,
    received: 0,
    sent: 0,
    missing: &[],
};

#[test]
fn rows_are_samples_whose_times_count_from_the_start_of_the_test() {
    let home = report("hey/home.csv");
    assert_figures("home", &home.total, &HOME);
    assert_eq!((home.started_at, home.series.points.len()), (None, 0));
    let notes = home.notes.join("\n");
    assert!(notes.contains("without a response"), "{notes}");
    let fail = report("hey/fail.csv");
    let wanted = Expected {
        samples: 60,
        errors: 60,
        throughput: 3260.869565,
        min: 0.4,
        mean: 1.621667,
        p50: 1.3,
        p90: 3.38,
        p95: 4.55,
        p99: 6.0,
        max: 6.0,
        ..HOME
    };
    assert_figures("fail", &fail.total, &wanted);
    let [kind] = fail.errors.as_slice() else {
        panic!("{:?}", fail.errors)
    };
    assert_eq!((kind.code.as_str(), kind.count), ("500", 60));
}

#[test]
fn a_run_without_responses_has_no_rows_and_a_note() {
    let report = report("hey/refused.csv");
    assert_eq!(report.total.samples, 0);
    assert!(report.notes[0].contains("without a response"));
}

#[test]
fn an_old_csv_has_neither_statuses_nor_times() {
    let old: String = text("hey/home.csv")
        .lines()
        .map(|line| line.rsplitn(3, ',').last().unwrap().to_owned() + "\n")
        .collect();
    let report = sound("hey", "home.csv", old.as_bytes());
    let wanted = Expected {
        throughput: 0.0,
        missing: &["errors", "errorPercent", "throughput"],
        ..HOME
    };
    assert_eq!(report.total.missing, wanted.missing);
    assert_eq!(report.total.p50, 2.0);
}

#[test]
fn the_summary_is_reported() {
    let home = report("hey/home.txt");
    let wanted = Expected {
        throughput: 1836.4219,
        max: 13.4,
        mean: 3.1,
        p50: 2.3,
        p90: 6.4,
        p95: 8.2,
        p99: 12.5,
        received: 3900,
        missing: &["sentBytes"],
        ..HOME
    };
    assert_figures("home.txt", &home.total, &wanted);
    assert_eq!(home.duration, 0.1634);
    let percentiles = home.distribution.iter().map(|point| point.percentile);
    let percentiles: Vec<f64> = percentiles.collect();
    assert_eq!(percentiles, [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0]);

    let older = report("hey/home-0.1.4.txt");
    let wanted = Expected {
        throughput: 2776.9945,
        max: 12.8,
        mean: 2.0,
        p50: 1.6,
        p90: 4.1,
        p95: 5.8,
        p99: 8.1,
        ..wanted
    };
    assert_figures("0.1.4", &older.total, &wanted);
}

#[test]
fn unknown_figures_of_a_summary_are_missing() {
    let fail = report("hey/fail.txt");
    let wanted = Expected {
        samples: 60,
        errors: 60,
        throughput: 119.1978,
        min: 0.8,
        mean: 2.2,
        p50: 2.0,
        p90: 3.4,
        p95: 4.4,
        p99: 0.0,
        max: 4.8,
        received: 300,
        sent: 0,
        missing: &["p99", "sentBytes"],
    };
    assert_figures("fail.txt", &fail.total, &wanted);
    let refused = report("hey/refused.txt");
    let wanted = Expected {
        samples: 20,
        errors: 20,
        throughput: 8210.393,
        missing: &[
            "max",
            "mean",
            "min",
            "p50",
            "p90",
            "p95",
            "p99",
            "receivedBytes",
            "sentBytes",
        ],
        ..Expected::default()
    };
    assert_figures("refused.txt", &refused.total, &wanted);
    let [kind] = refused.errors.as_slice() else {
        panic!("{:?}", refused.errors)
    };
    assert!(kind.message.contains("connection refused") && kind.count == 20);
}

#[test]
fn truncated_output_is_reported() {
    let csv = fixture("hey/home.csv");
    // Truncation is detected even if the rest of the last field is a number.
    for cut in 1..20 {
        let message = problem("home.csv", &csv[..csv.len() - cut]);
        assert!(message.contains("truncated"), "{cut}: {message}");
    }
    for name in ["home.txt", "refused.txt"] {
        let text = text(&format!("hey/{name}"));
        let text = text.trim_end();
        for cut in [0, 5, 20, 100] {
            let message = problem(name, &text.as_bytes()[..text.len() - cut]);
            assert!(message.contains("ends early"), "{name} {cut}: {message}");
        }
        let statuses = text.find("Error distribution").unwrap_or(text.len() - 30);
        let message = problem(name, &text.as_bytes()[..statuses]);
        assert!(message.contains("ends early"), "{name}: {message}");
    }
}

#[test]
fn of_more_than_a_million_responses_only_the_first_are_known() {
    let text = text("hey/fail.txt")
        .replace("[500]\t60 ", "[500]\t1000000 ")
        .replace("0.5034 secs", "100.0000 secs")
        .replace("119.1978", "20000.0000");
    let report = sound("hey", "fail.txt", text.as_bytes());
    assert_eq!((report.total.samples, report.total.max), (2_000_000, 4.8));
    let missing = ["errorPercent", "errors", "mean", "p99", "sentBytes"];
    assert_eq!(report.total.missing, missing);
    assert!(report.notes.iter().any(|note| note.contains("at most")));
}
