//! Output of oha 1.16.0.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod tool_files;

use tool_files::{Expected, assert_figures, fixture, problem, report};

#[test]
fn rows_are_samples_whose_times_count_from_the_start_of_the_test() {
    let all = report("oha/oha.csv");
    let wanted = Expected {
        samples: 300,
        errors: 60,
        throughput: 655.088453,
        min: 0.1388,
        mean: 8.886282,
        p50: 0.430207,
        p90: 32.058252,
        p95: 34.543707,
        p99: 44.378272,
        max: 54.464649,
        received: 2930,
        sent: 0,
        missing: &[],
    };
    assert_figures("oha.csv", &all.total, &wanted);
    assert_eq!((all.started_at, all.series.points.len()), (None, 0));
    assert_eq!(
        (all.errors[0].code.as_str(), all.errors[0].count),
        ("500", 60)
    );

    let refused = report("oha/refused.csv");
    let wanted = Expected {
        samples: 146,
        errors: 81,
        throughput: 501.740197,
        min: 1.926372,
        mean: 7.704604,
        p50: 7.105303,
        p90: 13.617783,
        p95: 15.165314,
        p99: 18.825211,
        max: 18.869573,
        received: 1250,
        ..wanted
    };
    assert_figures("refused.csv", &refused.total, &wanted);
    let notes = refused.notes.join("\n");
    assert!(notes.contains("without a response"), "{notes}");
}

#[test]
fn the_summary_is_reported() {
    let all = report("oha/oha.json");
    let wanted = Expected {
        samples: 300,
        errors: 62,
        throughput: 837.5299282595593,
        min: 0.178966,
        mean: 6.86272,
        p50: 0.47451,
        p90: 31.16635,
        p95: 34.06131,
        p99: 45.478358,
        max: 48.87656,
        received: 2727,
        sent: 0,
        missing: &["sentBytes"],
    };
    assert_figures("oha.json", &all.total, &wanted);
    assert_eq!(all.duration, 0.358196155);
    assert!(
        all.distribution
            .iter()
            .any(|point| point.percentile == 99.9)
    );

    let refused = report("oha/refused.json");
    let wanted = Expected {
        samples: 200,
        errors: 137,
        throughput: 671.5918211049704,
        min: 0.441669,
        mean: 8.898548,
        p50: 6.832222,
        p90: 20.066568,
        p95: 25.554968,
        p99: 47.012234,
        max: 47.237437,
        received: 1144,
        ..wanted
    };
    assert_figures("refused.json", &refused.total, &wanted);
    let errors = refused.errors.iter();
    let errors: Vec<_> = errors
        .map(|kind| (kind.code.as_str(), kind.message.as_str(), kind.count))
        .collect();
    assert_eq!(
        errors,
        [
            ("", "Connection refused (os error 111)", 72),
            ("500", "", 65)
        ]
    );
}

#[test]
fn requests_in_progress_at_the_end_of_the_run_are_not_counted() {
    let report = report("oha/deadline.json");
    let wanted = Expected {
        samples: 97,
        errors: 0,
        throughput: 97.0 / 1.002151697,
        min: 30.670101,
        mean: 32.654964,
        p50: 31.114103,
        p90: 36.425342,
        p95: 38.341816,
        p99: 56.893202,
        max: 56.893202,
        received: 1552,
        sent: 0,
        missing: &["sentBytes"],
    };
    assert_figures("deadline.json", &report.total, &wanted);
    assert!(report.errors.is_empty());
    let notes = report.notes.join("\n");
    assert!(notes.contains("aborted 4 requests"), "{notes}");
}

#[test]
fn a_run_without_responses_has_no_times() {
    let report = report("oha/all-refused.json");
    let wanted = Expected {
        samples: 20,
        errors: 20,
        throughput: 2743.4691716369184,
        missing: &[
            "max",
            "mean",
            "min",
            "p50",
            "p90",
            "p95",
            "p99",
            "sentBytes",
        ],
        ..Expected::default()
    };
    assert_figures("all-refused.json", &report.total, &wanted);
    assert!(report.distribution.is_empty());
}

#[test]
fn truncated_output_is_reported() {
    let csv = fixture("oha/oha.csv");
    for cut in 1..30 {
        let message = problem("oha.csv", &csv[..csv.len() - cut]);
        assert!(message.contains("truncated"), "{cut}: {message}");
    }
    let json = fixture("oha/oha.json");
    for cut in [1, 100, json.len() / 3] {
        let message = problem("oha.json", &json[..json.len() - cut]);
        assert!(message.contains("not all of it"), "{cut}: {message}");
    }
}
