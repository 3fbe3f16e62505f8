//! Files of Vegeta 12.13.0, compared with Vegeta's own figures.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod tool_files;

use tool_files::{Expected, assert_figures, fixture, problem, read, report, sound, text};

const RUN: Expected<'_> = Expected {
    samples: 240,
    errors: 21,
    throughput: 99.152395,
    min: 0.81024,
    mean: 6.489131,
    p50: 1.197466,
    p90: 31.529163,
    p95: 32.035344,
    p99: 33.024938,
    max: 34.76002,
    received: 2287,
    sent: 480,
    missing: &[],
};

#[test]
fn all_forms_of_single_results_give_the_same_figures() {
    for name in [
        "vegeta/results.bin",
        "vegeta/results.json",
        "vegeta/results.csv",
    ] {
        let report = report(name);
        assert_figures(name, &report.total, &RUN);
        assert_eq!(report.labels.len(), 1);
        assert_eq!(report.labels[0].name, "shop");
        assert_eq!(
            report.started_at.as_deref(),
            Some("2026-11-28T14:46:26.301308Z"),
            "{name}"
        );
        let errors = report.errors.iter();
        let errors: Vec<_> = errors
            .map(|kind| (kind.code.as_str(), kind.count))
            .collect();
        assert_eq!(errors, [("500", 20), ("0", 1)]);
        assert_eq!(report.errors[0].message, "500 Internal Server Error");
        assert!(report.errors[1].message.contains("connection refused"));
        let points = report.series.points.iter().map(|point| point.samples);
        assert_eq!(points.sum::<u64>(), 240);
    }
}

#[test]
fn a_zone_and_missing_bodies_change_nothing() {
    let report = report("vegeta/results-tz-nobody.bin");
    let wanted = Expected {
        samples: 100,
        errors: 8,
        throughput: 97.385353,
        min: 0.563517,
        mean: 6.629869,
        p50: 1.124885,
        p90: 31.585096,
        p95: 32.266609,
        p99: 33.871772,
        max: 33.881361,
        received: 0,
        sent: 204,
        missing: &[],
    };
    assert_figures("nobody", &report.total, &wanted);
    assert_eq!(
        report.started_at.as_deref(),
        Some("2026-11-28T14:47:42.504495Z")
    );
}

#[test]
fn vegetas_report_is_read() {
    let report = report("vegeta/report.json");
    let wanted = Expected {
        p50: 1.197077,
        p90: 31.523681,
        p95: 32.03006,
        p99: 33.012954,
        ..RUN
    };
    assert_figures("report", &report.total, &wanted);
    assert!((report.duration - 2.420516419).abs() < 1e-9);
    let errors = report.errors.iter();
    let errors: Vec<_> = errors
        .map(|kind| (kind.code.as_str(), kind.message.as_str(), kind.count))
        .collect();
    assert_eq!(
        errors,
        [
            ("500", "500 Internal Server Error", 20),
            ("0", "no response", 1)
        ]
    );
    let notes = report.notes.join("\n");
    assert!(notes.contains("Vegeta's own"), "{notes}");
}

#[test]
fn a_report_before_12_8_lacks_two_figures() {
    let older = text("vegeta/report.json")
        .replace("\"90th\":31523681,", "")
        .replace(",\"min\":810240", "");
    let report = sound("vegeta", "report.json", older.as_bytes());
    assert_eq!(report.total.missing, ["min", "p90"]);
}

#[test]
fn a_summary_does_not_count_beside_its_results() {
    let mut tally = atq_report::Tally::new(atq_report::Options::default());
    for name in ["report.json", "results.bin", "results.csv"] {
        let bytes = fixture(&format!("vegeta/{name}"));
        tally
            .read(&format!("master.1/{name}"), None, bytes.as_slice())
            .unwrap();
    }
    let report = tally.finish("task", "run").report;
    assert_eq!(report.total.samples, 240);
    let ignored = report.sources.iter().filter(|file| file.ignored.is_some());
    assert_eq!(ignored.count(), 2);
}

#[test]
fn the_label_is_the_address_when_the_attack_has_no_name() {
    let json = text("vegeta/results.json").replace("\"attack\":\"shop\"", "\"attack\":\"\"");
    let csv = text("vegeta/results.csv").replace(",shop,", ",,");
    let of_json = sound("vegeta", "results.json", json.as_bytes());
    let of_csv = sound("vegeta", "results.csv", csv.as_bytes());
    assert_eq!(of_json.labels, of_csv.labels);
    let labels = of_json.labels.iter();
    let labels: Vec<_> = labels
        .map(|label| (label.name.as_str(), label.figures.samples))
        .collect();
    assert_eq!(
        labels,
        [
            ("GET http://127.0.0.1:18081/fail", 20),
            // With and without `?page=2`.
            ("GET http://127.0.0.1:18081/home", 119),
            ("GET http://127.0.0.1:18081/login", 60),
            ("GET http://127.0.0.1:9/home", 1),
            ("POST http://127.0.0.1:18081/slow", 40),
        ]
    );
}

#[test]
fn older_forms_have_fewer_columns_and_names() {
    let csv = text("vegeta/results.csv");
    for (columns, label) in [(9, "shop"), (7, "")] {
        let mut rows = csv::ReaderBuilder::new();
        let mut rows = rows.has_headers(false).from_reader(csv.as_bytes());
        let mut older = csv::Writer::from_writer(Vec::new());
        for row in rows.records() {
            older
                .write_record(row.unwrap().iter().take(columns))
                .unwrap();
        }
        let older = older.into_inner().unwrap();
        let report = sound("vegeta", "results.csv", &older);
        assert_figures("older", &report.total, &RUN);
        assert_eq!(report.labels[0].name, label);
    }
    let json = text("vegeta/results.json");
    let older: String = json
        .lines()
        .map(|line| {
            let code = line.find("\"code\"").unwrap();
            let method = line.find(",\"method\"").unwrap();
            format!("{{{}}}\n", &line[code..method])
        })
        .collect();
    let report = sound("vegeta", "results.json", older.as_bytes());
    assert_figures("older", &report.total, &RUN);
}

#[test]
fn truncated_files_keep_the_decoded_samples() {
    // Truncated, as after a kill; the samples were counted manually.
    let (source, report) = read("results.bin", &fixture("vegeta/results.bin")[..30_011]);
    assert_eq!((report.total.samples, report.total.errors), (141, 13));
    assert_eq!(
        (report.total.received_bytes, report.total.sent_bytes),
        (1338, 276)
    );
    let truncated = "the last row is truncated and was ignored";
    assert_eq!(source.problem.unwrap(), truncated);
    for name in ["vegeta/results.json", "vegeta/results.csv"] {
        let bytes = fixture(name);
        // Within a body, within a header, and shortly before the end.
        for cut in [bytes.len() - 3, bytes.len() - 60, 400] {
            let message = problem(name, &bytes[..cut]);
            assert!(message.contains("truncated"), "{name} {cut}: {message}");
        }
    }
    let report = fixture("vegeta/report.json");
    let message = problem("report.json", &report[..report.len() - 20]);
    assert!(message.contains("not all of it"), "{message}");
}

#[test]
fn a_last_message_truncated_anywhere_is_reported() {
    let bytes = fixture("vegeta/results-tz-nobody.bin");
    for cut in 1..200 {
        let (source, report) = read("results.bin", &bytes[..bytes.len() - cut]);
        // The file may end between two results.
        let is_whole = source.problem.is_none();
        assert!(report.total.samples <= 99);
        assert!(is_whole || report.total.samples == source.samples);
    }
}

#[test]
fn bodies_of_any_length_are_skipped() {
    let body = "QUJD".repeat(3_000_000);
    let json = text("vegeta/results.json").replace("d2VsY29tZSBob21lCg==", &body);
    let lines: Vec<&str> = json.lines().take(4).collect();
    let report = sound("vegeta", "results.json", lines.join("\n").as_bytes());
    assert_eq!(report.total.samples, 4);
    let csv = text("vegeta/results.csv").replace("d2VsY29tZSBob21lCg==", &body);
    let lines: Vec<&str> = csv.lines().take(4).collect();
    let report = sound(
        "vegeta",
        "results.csv",
        (lines.join("\n") + "\n").as_bytes(),
    );
    assert_eq!(report.total.samples, 4);

    // A gob result of 40 million bytes: field 8 of the first one is its body.
    let gob = fixture("vegeta/results.bin");
    let at = memchr_of(&gob, b"welcome home\n") - 1;
    let definitions = memchr_of(&gob, b"\xff\xca\xff\x80\x01\x04shop");
    let end = definitions + 2 + 0xca;
    let long = 40_000_000_u32;
    let length = 0xca - 14 + 5 + long;
    let mut bytes = gob[..definitions].to_vec();
    bytes.push(0xfc);
    bytes.extend(length.to_be_bytes());
    bytes.extend(&gob[definitions + 2..at]);
    bytes.push(0xfc);
    bytes.extend(long.to_be_bytes());
    bytes.extend(std::iter::repeat_n(b'x', long as usize));
    bytes.extend(&gob[at + 14..end]);
    bytes.extend(&gob[end..]);
    let report = sound("vegeta", "results.bin", &bytes);
    assert_figures("long body", &report.total, &RUN);
}

fn memchr_of(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

#[test]
fn a_damaged_gob_is_reported() {
    let mut bytes = fixture("vegeta/results.bin");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 500].fill(0xee);
    let message = problem("results.bin", &bytes);
    assert!(
        message.contains("damaged") || message.contains("cannot be read"),
        "{message}"
    );
}

#[test]
fn lines_and_objects_of_other_programs_are_not_vegetas() {
    for text in [
        "{\"code\":200,\"latency\":5}\n",
        "{\"latencies\":{\"p50\":1}}",
        "{\"attack\":\"x\"}",
        "1795877186301308996,5\n",
    ] {
        assert_eq!(read("x", text.as_bytes()).0.format, "", "{text}");
    }
}
