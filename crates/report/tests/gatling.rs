//! Logs written by Gatling, compared with independent counts.
#![allow(clippy::unwrap_used)]

mod files;

use files::{assert_figures, assert_same_in_portions_and_packed, expected, fixture, read, sound};

const LOGS: [&str; 3] = [
    "gatling/text-3.3",
    "gatling/text-3.9",
    "gatling/binary-3.15",
];
const FIGURES: [&str; 10] = [
    "samples",
    "errors",
    "min",
    "max",
    "mean",
    "p50",
    "p90",
    "p95",
    "p99",
    "throughput",
];

fn log(name: &str) -> String {
    format!("{name}.log")
}

#[test]
fn every_figure_is_that_of_the_log_in_all_three_layouts() {
    for name in LOGS {
        let (source, report) = sound(&log(name));
        let theirs = expected(&format!("{name}.json"));
        assert_eq!((source.format.as_str(), source.samples), ("gatling", 150));
        assert_figures(&report.total, &theirs, &FIGURES, 1e-6);
        assert_eq!(report.total.missing, ["receivedBytes", "sentBytes"]);
        let by_label = theirs["byLabel"].as_object().unwrap();
        assert_eq!(report.labels.len(), by_label.len());
        for label in &report.labels {
            assert_figures(&label.figures, &by_label[&label.name], &FIGURES, 1e-6);
        }
    }
}

#[test]
fn errors_have_gatlings_messages_and_those_without_a_request_are_noted() {
    for name in LOGS {
        let (_, report) = sound(&log(name));
        let theirs = expected(&format!("{name}.json"));
        assert_eq!(report.errors.len(), 2, "{name}");
        for kind in &report.errors {
            assert_eq!(kind.code, "");
            assert_eq!(theirs["errorMessages"][&kind.message], kind.count, "{name}");
        }
        let message = "20 errors without a request (the first: `Lost: ";
        assert!(
            report.notes.iter().any(|note| note.contains(message)),
            "{name}"
        );
        assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    }
}

#[test]
fn times_and_active_users_are_reported() {
    for name in LOGS {
        let (_, report) = sound(&log(name));
        assert!(report.started_at.is_some() && report.duration > 1.0);
        let points = report.series.points.iter();
        assert_eq!(points.map(|point| point.samples).sum::<u64>(), 150);
        assert_eq!(report.series.points.last().unwrap().active, Some(0.0));
    }
}

#[test]
fn logs_may_be_chunked_and_compressed() {
    for name in LOGS {
        assert_same_in_portions_and_packed(&log(name));
    }
}

#[test]
fn a_truncated_log_is_reported_and_its_complete_records_are_counted() {
    let whole = fixture("gatling/binary-3.15.log");
    let (source, report) = read("simulation.log", &whole[..4000]);
    let message = "the last row is truncated and was ignored";
    assert_eq!(source.problem.as_deref(), Some(message));
    let theirs = expected("gatling/binary-3.15-cut.json");
    assert_figures(&report.total, &theirs, &FIGURES, 1e-6);
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("users are active"))
    );
    for name in ["gatling/text-3.3.log", "gatling/text-3.9.log"] {
        let whole = fixture(name);
        let (source, report) = read(name, &whole[..8192]);
        assert_eq!(source.problem.as_deref(), Some(message), "{name}");
        assert!((50..150).contains(&report.total.samples));
    }
}

#[test]
fn logs_of_unknown_versions_are_reported() {
    let known = fixture("gatling/binary-3.15.log");
    for (name, version, read_those_of) in [
        ("simulation.log", "3.16.0", "3.13 to 3.15"),
        ("other", "4.00.1", "3.13 to 3.15"),
    ] {
        let mut newer = known.clone();
        newer[5..11].copy_from_slice(version.as_bytes());
        let (source, report) = read(name, &newer);
        assert_eq!((source.format.as_str(), report.total.samples), ("", 0));
        let problem = source.problem.unwrap();
        assert!(
            problem.contains(version) && problem.contains(read_those_of),
            "{problem}"
        );
    }
    let mut other = known.clone();
    other[0..5].copy_from_slice(b"\0\x7fLOG");
    let (source, _) = read("a/simulation.log", &other);
    assert!(source.problem.unwrap().contains("that of a Gatling log"));
    assert_eq!(read("a/other.bin", &other).0.problem, None);
    let older = "RUN\tA\ta\t1500000000000\t \t2.3.0\n";
    let (source, _) = read("simulation.log", older.as_bytes());
    assert!(source.problem.unwrap().contains("Gatling 2.3.0"));
}

#[test]
fn nothing_is_read_after_a_record_of_an_unknown_kind() {
    let mut log = fixture("gatling/binary-3.15.log");
    let whole = log.clone();
    log.push(9);
    log.extend(&whole);
    let (source, report) = read("simulation.log", &log);
    assert_eq!(report.total.samples, 150);
    assert!(
        source
            .problem
            .unwrap()
            .contains("`9` is not a kind of record")
    );
    // Two logs in one file are two runs.
    let (source, report) = read("simulation.log", &[whole.clone(), whole].concat());
    assert_eq!((source.problem, report.total.samples), (None, 300));
}

#[test]
fn names_with_tabs_and_rows_that_are_no_records_are_read_as_they_are() {
    let text = "RUN\tA\ta\t1760000000000\t \t3.9.5\n\
                USER\tU\tSTART\t1760000000000\n\
                REQUEST\t\t7\tb\t1760000000000\t1760000000005\tOK\t \n\
                REQUEST\tG,H\tc\t1760000000000\t1760000000007\tKO\tOops\n\
                REQUEST\t\tpush\t1760000000000\t-9223372036854775808\tOK\t \n\
                REQUEST\t\td\t1760000000009\t1760000000008\tOK\t \n\
                OTHER\tx\n";
    let (source, report) = read("simulation.log", text.as_bytes());
    let names: Vec<&str> = report
        .labels
        .iter()
        .map(|label| label.name.as_str())
        .collect();
    assert_eq!(names, ["7 b", "G / H / c"]);
    assert_eq!(
        source.problem.unwrap(),
        "2 rows cannot be read, the first is row 6: its `end` is `1760000000008`"
    );
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("1 server messages"))
    );
}

#[test]
fn similar_files_are_not_read() {
    for text in [
        "RUN\tA\n",
        "RUN\tA\ta\t1\t \t3.9.5\n",
        "ASSERTION\tx\nhello\n",
        "REQUEST\t\tb\t1760000000000\t1760000000005\tOK\t \n",
    ] {
        let (source, _) = read("a.log", text.as_bytes());
        assert_eq!(
            (source.format.as_str(), source.problem),
            ("", None),
            "{text}"
        );
    }
}
