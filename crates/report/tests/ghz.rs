//! Output of ghz 0.93.0.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod tool_files;

use tool_files::{Expected, assert_figures, fixture, problem, read, report, sound, text};

const RUN: Expected<'_> = Expected {
    samples: 300,
    errors: 18,
    throughput: 525.378254,
    min: 0.953688,
    mean: 9.309781,
    p50: 4.843562,
    p90: 8.495025,
    p95: 9.460937,
    p99: 200.194752,
    max: 201.024958,
    received: 0,
    sent: 0,
    missing: &[],
};

#[test]
fn details_are_samples_that_end_at_their_time() {
    let one = report("ghz/ghz.json");
    assert_figures("ghz.json", &one.total, &RUN);
    assert_eq!(one.labels.len(), 1);
    assert_eq!(one.labels[0].name, "shop.Shop.Buy");
    let started = one.started_at.as_deref();
    assert!(started.unwrap().starts_with("2026-11-28T14:50:42.56413"));
    let ended = one.ended_at.as_deref();
    assert_eq!(ended, Some("2026-11-28T14:50:43.135152Z"));
    let errors = one.errors.iter();
    let errors: Vec<_> = errors
        .map(|kind| (kind.code.as_str(), kind.count))
        .collect();
    assert_eq!(errors, [("Internal", 12), ("DeadlineExceeded", 6)]);
    assert!(one.errors[0].message.ends_with("out, of \"stock\""));

    let pretty = report("ghz/ghz-pretty.json");
    let wanted = Expected {
        samples: 200,
        errors: 12,
        throughput: 100.123796,
        min: 1.237421,
        mean: 8.536397,
        p50: 4.27752,
        p90: 7.122339,
        p95: 8.419401,
        p99: 200.143968,
        max: 200.587798,
        ..RUN
    };
    assert_figures("ghz-pretty.json", &pretty.total, &wanted);
}

/// The document without its details.
fn bare() -> String {
    let text = text("ghz/ghz.json");
    let details = text.find("\"details\":").unwrap();
    format!("{}\"details\":null}}", &text[..details])
}

#[test]
fn a_document_without_details_is_a_summary() {
    let report = sound("ghz", "ghz.json", bare().as_bytes());
    let wanted = Expected {
        throughput: 524.6033057345713,
        min: 2.707708,
        mean: 9.30978,
        p50: 4.844003,
        p90: 7.899653,
        p95: 8.905329,
        p99: 24.405534,
        max: 29.148888,
        missing: &["receivedBytes", "sentBytes"],
        ..RUN
    };
    assert_figures("bare", &report.total, &wanted);
    assert_eq!(report.duration, 0.571860674);
    assert_eq!(report.labels[0].name, "shop.Shop.Buy");
    let errors = report.errors.iter();
    let errors: Vec<_> = errors
        .map(|kind| (kind.code.as_str(), kind.count))
        .collect();
    assert_eq!(errors, [("Internal", 12), ("DeadlineExceeded", 6)]);
    let notes = report.notes.join("\n");
    assert!(notes.contains("cover successful calls only"), "{notes}");
}

#[test]
fn a_summary_without_successful_calls_has_no_times_but_the_mean() {
    let text = bare()
        .replace(",\"OK\":282", "")
        .replace("\"count\":300", "\"count\":18");
    let report = sound("ghz", "ghz.json", text.as_bytes());
    assert_eq!((report.total.samples, report.total.errors), (18, 18));
    assert_eq!(
        report.total.missing,
        [
            "max",
            "min",
            "p50",
            "p90",
            "p95",
            "p99",
            "receivedBytes",
            "sentBytes"
        ]
    );
}

#[test]
fn incomplete_details_are_reported() {
    let more = text("ghz/ghz.json").replace("\"count\":300", "\"count\":301");
    let message = problem("ghz.json", more.as_bytes());
    assert_eq!(message, "it has details of 300 of its 301 calls");
    // ghz keeps the details of a million calls; its own figures cover all of them.
    let million = text("ghz/ghz.json").replace("\"count\":300", "\"count\":1000001");
    let report = sound("ghz", "ghz.json", million.as_bytes());
    assert_eq!(report.total.samples, 1_000_001);
    assert!(report.notes.iter().any(|note| note.contains("at most")));
}

#[test]
fn documents_of_any_length_are_read() {
    let text = text("ghz/ghz.json");
    let from = text.find("\"details\":[").unwrap() + "\"details\":[".len();
    let to = text.find("],\"tags\"").unwrap();
    let details = vec![&text[from..to]; 600].join(",");
    let long = format!("{}{details}{}", &text[..from], &text[to..]);
    let long = long.replace("\"count\":300", "\"count\":180000");
    assert!(long.len() > 16 * 1024 * 1024);
    let report = sound("ghz", "ghz.json", long.as_bytes());
    assert_eq!(
        (report.total.samples, report.total.errors),
        (180_000, 10_800)
    );
}

#[test]
fn rows_have_neither_times_nor_labels() {
    let report = report("ghz/ghz.csv");
    let wanted = Expected {
        throughput: 0.0,
        min: 0.72,
        mean: 7.521833,
        p50: 3.43,
        p90: 5.03,
        p95: 6.0485,
        p99: 200.8396,
        max: 201.06,
        missing: &["throughput"],
        ..RUN
    };
    assert_figures("ghz.csv", &report.total, &wanted);
    assert!(report.errors[0].message.contains(", of \"stock\""));
    assert_eq!(report.errors[0].code, "Internal");
}

#[test]
fn truncated_output_is_reported() {
    for name in ["ghz/ghz.json", "ghz/ghz-pretty.json"] {
        let json = fixture(name);
        for cut in [3, 40, 300, 10_000] {
            let (source, report) = read(name, &json[..json.trim_ascii_end().len() - cut]);
            let message = source.problem.unwrap();
            assert!(message.contains("truncated"), "{name} {cut}: {message}");
            assert_eq!(report.total.samples, source.samples);
            assert!(report.total.samples > 100, "{name} {cut}");
        }
    }
    let message = problem("ghz.json", &fixture("ghz/ghz.json")[..1200]);
    assert!(message.contains("truncated"), "{message}");
    let csv = fixture("ghz/ghz.csv");
    for cut in 1..10 {
        let message = problem("ghz.csv", &csv[..csv.len() - cut]);
        assert!(message.contains("truncated"), "{cut}: {message}");
    }
}
