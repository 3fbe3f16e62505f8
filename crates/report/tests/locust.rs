//! Locust's JSON, alone and together with the CSV of the same run.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]

mod summaries;

use serde_json::json;
use summaries::*;

const JSON: &str = "locust-json/l.json";
const CSV: &str = "locust-json/l_stats.csv";

#[test]
fn entries_are_merged_and_percentiles_equal_those_of_locust() {
    let (source, report) = sound(JSON);
    assert_eq!((source.format.as_str(), source.samples), ("locust", 247));
    let total = json!({
        "samples": 247, "errors": 50, "errorPercent": 50.0 / 247.0 * 100.0,
        "min": 2.220_252_999_904_914_8, "max": 395.681_465_000_052_4, "mean": 30.707_643_769_227_09,
        "p50": 14, "p90": 60, "p95": 120, "p99": 290,
        "throughput": 66.616_640_922_206_8, "receivedBytes": 2023,
    });
    assert_figures("total", &report.total, &total, &["sentBytes"]);
    let fail = json!({
        "samples": 29, "errors": 29, "min": 2.355_988_000_090_292, "max": 82.459_923_000_442_36,
        "mean": 21.458_969_482_770_545, "p50": 15, "p90": 68, "p95": 70, "p99": 82, "receivedBytes": 145,
        // Rate over the whole run, as in Locust's own tables.
        "throughput": 66.616_640_922_206_8 / 247.0 * 29.0,
    });
    let name = "GET /fail?id=1";
    assert_figures(name, label(&report, name), &fail, &["sentBytes"]);
    let login = json!({"samples": 62, "errors": 0, "p50": 12, "p90": 39, "p95": 47, "p99": 180});
    assert_figures(
        "log in",
        label(&report, "GET log in"),
        &login,
        &["sentBytes"],
    );
    let names: Vec<&str> = report
        .labels
        .iter()
        .map(|label| label.name.as_str())
        .collect();
    let wanted = [
        "GET /fail?id=1",
        "GET /home",
        "GET log in",
        "GET refused, \"no\" one",
        "POST /slow",
    ];
    assert_eq!(names, wanted);
    let curve: Vec<(f64, f64)> = report
        .distribution
        .iter()
        .map(|point| (point.percentile, point.millis))
        .collect();
    assert_eq!(curve.len(), 11);
    assert_eq!((curve[0], curve[10]), ((50.0, 14.0), (100.0, 400.0)));
    assert!((report.duration - 3.707_782_3).abs() < 1e-6);
    let (_, report) = sound("locust-json/two-entries.json");
    assert_eq!((report.total.samples, report.total.errors), (900, 9));
    assert_eq!((report.total.p50, report.total.p90), (42.0, 80.0));
    let (_, report) = sound("locust-json/f.json");
    assert_eq!((report.total.samples, report.total.errors), (114, 22));
    assert_eq!(
        (
            report.total.p50,
            report.total.p90,
            report.total.p95,
            report.total.p99
        ),
        (10.0, 43.0, 56.0, 170.0)
    );
}

#[test]
fn a_truncated_list_is_reported_and_not_counted() {
    assert_truncation_is_reported(JSON, &[30, 50, 90, 99]);
    let text = fixture(JSON);
    let twice = [text.as_slice(), &text].concat();
    assert!(read(JSON, &twice).0.problem.is_some());
    assert_eq!(read(JSON, &text[..text.len() / 2]).1.total.samples, 0);
}

#[test]
fn a_list_of_another_program_is_not_one_of_locust() {
    for text in [
        "[]",
        "[ ]\n",
        "[1, 2]",
        r#"[{"name": "a", "num_requests": 5}]"#,
    ] {
        let (source, _) = read("locust.json", text.as_bytes());
        assert_eq!(
            (source.format.as_str(), source.problem),
            ("", None),
            "{text}"
        );
    }
}

#[test]
fn requests_without_a_time_have_none() {
    let entry = |requests, none| {
        format!(
            r#"[{{"name":"a","method":"","last_request_timestamp":null,"start_time":1.0,"num_requests":{requests},
            "num_none_requests":{none},"num_failures":0,"total_response_time":0,"max_response_time":0,
            "min_response_time":null,"total_content_length":0,"response_times":{{}},"num_reqs_per_sec":{{}},"num_fail_per_sec":{{}}}}]"#
        )
    };
    let (source, report) = read("l.json", entry(3, 3).as_bytes());
    assert_eq!(
        (source.problem, report.labels[0].name.as_str()),
        (None, "a")
    );
    let missing = [
        "throughput",
        "min",
        "mean",
        "p50",
        "p90",
        "p95",
        "p99",
        "max",
        "sentBytes",
    ];
    assert_figures(
        "a",
        &report.total,
        &json!({"samples": 3, "errors": 0}),
        &missing,
    );
    for bad in [entry(3, 4), entry(u64::MAX, 0)] {
        assert!(read("l.json", bad.as_bytes()).0.problem.is_some(), "{bad}");
    }
}

#[test]
fn json_and_csv_of_a_run_count_once_and_the_json_has_more() {
    let (json, csv) = (fixture(JSON), fixture(CSV));
    let failures = fixture("locust-json/l_failures.csv");
    let history = fixture("locust-json/l_stats_history.csv");
    let mut files = [
        ("c/l.json", json.as_slice()),
        ("c/l_failures.csv", &failures),
        ("c/l_stats.csv", &csv),
        ("c/l_stats_history.csv", &history),
    ];
    for _ in 0..2 {
        let report = read_all(&files);
        assert_eq!((report.total.samples, report.total.errors), (247, 50));
        assert!(report.total.missing.iter().all(|name| name != "throughput"));
        let ignored: Vec<&str> = report
            .sources
            .iter()
            .filter(|source| source.ignored.is_some())
            .map(|source| source.path.as_str())
            .collect();
        assert_eq!(ignored, ["c/l_stats.csv"]);
        let message = "`c/l_stats.csv` is not counted: it is another format of the run of `c/l.json`, which has 247 samples instead of 199";
        assert!(
            report.notes.iter().any(|note| note == message),
            "{:?}",
            report.notes
        );
        assert_eq!((report.errors.len(), report.series.points.len()), (2, 4));
        files.reverse();
    }
}

#[test]
fn csv_and_json_of_other_runs_are_added_up() {
    // The second CSV matches the JSON too, but a run has only one.
    let (json, csv) = (fixture(JSON), fixture(CSV));
    let other = fixture("locust-json/f_stats.csv");
    let files = [
        ("c/f_stats.csv", other.as_slice()),
        ("c/l.json", &json),
        ("c/l_stats.csv", &csv),
    ];
    assert_eq!(read_all(&files).total.samples, 247 + 106);
    // The CSV has more samples of a label than the JSON.
    let more = String::from_utf8(csv)
        .unwrap()
        .replace("/slow,28,0,", "/slow,42,0,");
    let files = [
        ("c/l.json", json.as_slice()),
        ("c/l_stats.csv", more.as_bytes()),
    ];
    assert_eq!(read_all(&files).total.samples, 247 + 199);
}
