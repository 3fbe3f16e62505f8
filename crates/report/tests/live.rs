//! Files that grow: the figures during a run, and at its end.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use atq_api_spec::live::{LiveFigures, SourceState};
use atq_report::live::{LastWindow, Live};
use atq_report::{Metric, Options, Report, Tally, Window};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Start of the generated runs in milliseconds since 1970.
const T: u64 = 1_760_000_000_000;
const HEAD: &str = "timestamp,elapsed,label,success,code,active\n";

type File = (String, Vec<u8>);

fn read(folder: &str, name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(fixtures.join(folder).join(name)).unwrap()
}

/// Sets of files of one container, of formats with figures during a run.
static RUNS: LazyLock<Vec<Vec<File>>> = LazyLock::new(|| {
    let single = [
        ("jmeter", "results.jtl"),
        ("jmeter", "results.xml"),
        ("k6", "points.csv"),
        ("k6", "points.json"),
        ("gatling", "text-3.3.log"),
        ("gatling", "text-3.9.log"),
        ("gatling", "binary-3.15.log"),
        ("vegeta", "results.bin"),
        ("vegeta", "results.json"),
        ("vegeta", "results.csv"),
        ("hey", "home.csv"),
        ("ghz", "ghz.csv"),
        ("oha", "oha.csv"),
        ("perftest", "messages-w1.csv"),
        ("jmeter-summary", "results.csv"),
    ];
    let single =
        single.map(|(folder, name)| vec![(format!("worker.1/{name}"), read(folder, name))]);
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(cases)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    let cases = cases.iter().map(|case| {
        let mut files: Vec<PathBuf> = std::fs::read_dir(case)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("EXPECT.json"))
            .collect();
        files.sort();
        let files = files.iter().map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (format!("worker.1/{name}"), std::fs::read(path).unwrap())
        });
        files.collect::<Vec<File>>()
    });
    let runs = single.into_iter().chain(cases);
    runs.filter(|files| {
        let mut live = Live::default();
        feed_all(&mut live, files);
        let states = live.snapshot(0).sources.into_iter();
        states
            .map(|source| source.state)
            .all(|state| state == SourceState::Ended)
    })
    .collect()
});

fn feed_all(live: &mut Live, files: &[File]) {
    for (path, bytes) in files {
        live.feed(path, bytes);
        live.ended(path);
    }
}

fn report(files: &[File]) -> Report {
    let mut tally = Tally::new(Options::default());
    for (path, bytes) in files {
        let container = path.split('/').next();
        let worker = container.filter(|name| !name.starts_with("master."));
        tally.read(path, worker, bytes.as_slice()).unwrap();
    }
    tally.finish("t", "r").report
}

/// The figures of the last snapshot must be those of the report.
#[track_caller]
fn assert_equal(snapshot: &LiveFigures, report: &Report) {
    assert_eq!(snapshot.total, report.total);
    assert_eq!(snapshot.series, report.series);
    if snapshot.labels_left_out == 0 {
        let mut labels: Vec<_> = snapshot.labels.iter().collect();
        labels.sort_by(|one, other| one.name.cmp(&other.name));
        let labels: Vec<_> = labels
            .iter()
            .map(|label| (&label.name, &label.total))
            .collect();
        let wanted = report.labels.iter();
        let wanted: Vec<_> = wanted.map(|label| (&label.name, &label.figures)).collect();
        assert_eq!(labels, wanted);
    }
    let workers = snapshot.workers.iter();
    let workers: Vec<_> = workers
        .map(|worker| (&worker.name, &worker.total))
        .collect();
    let wanted = report.workers.iter();
    let wanted: Vec<_> = wanted
        .map(|worker| (&worker.name, &worker.figures))
        .collect();
    assert_eq!(workers, wanted);
}

/// Splits bytes at these positions.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn files_in_any_pieces_and_order_give_the_figures_of_the_report(
        run in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 40),
        has_snapshots in any::<bool>(),
    ) {
        let mut files = run.get(&RUNS).clone();
        let others = other.get(&RUNS).iter();
        files.extend(others.map(|(path, bytes)| (path.replace("worker.1", "worker.2"), bytes.clone())));
        let mut left: Vec<(&str, Vec<&[u8]>)> = files
            .iter()
            .map(|(path, bytes)| {
                let mut pieces = pieces(bytes, &cuts);
                pieces.reverse();
                (path.as_str(), pieces)
            })
            .collect();
        let mut live = Live::default();
        let mut order = order.iter().cycle();
        let mut now = T;
        while !left.is_empty() {
            let at = order.next().unwrap().index(left.len());
            let (path, pieces) = &mut left[at];
            match pieces.pop() {
                Some(piece) => live.feed(path, piece),
                None => {
                    live.ended(path);
                    left.remove(at);
                }
            }
            now += 1000;
            if has_snapshots {
                live.snapshot(now);
            }
        }
        assert_equal(&live.snapshot(now), &report(&files));
    }
}

#[test]
fn every_format_with_samples_is_live() {
    let formats: std::collections::BTreeSet<String> = RUNS
        .iter()
        .flat_map(|files| {
            let mut live = Live::default();
            feed_all(&mut live, files);
            live.snapshot(0)
                .sources
                .into_iter()
                .map(|source| source.format)
        })
        .collect();
    let formats: Vec<&str> = formats.iter().map(String::as_str).collect();
    assert_eq!(
        formats,
        [
            "csv", "gatling", "ghz", "hey", "jtl-csv", "jtl-xml", "k6", "oha", "perftest", "vegeta"
        ]
    );
    assert!(RUNS.len() > 60, "{}", RUNS.len());
}

/// Rows of the simple CSV: one sample for each time in milliseconds after the start.
fn rows(times: impl IntoIterator<Item = u64>, is_failed: impl Fn(u64) -> bool) -> String {
    let mut text = String::new();
    for at in times {
        let (ok, code) = if is_failed(at) {
            (false, 500)
        } else {
            (true, 200)
        };
        writeln!(text, "{},{},Home,{ok},{code},7", T + at, 10 + at % 90).unwrap();
    }
    text
}

fn good(_: u64) -> bool {
    false
}

fn window(metric: Metric, seconds: u32) -> Window {
    Window {
        label: None,
        metric,
        seconds,
    }
}

fn throughput(seconds: u32) -> Vec<Window> {
    vec![window(Metric::Throughput, seconds)]
}

#[test]
fn the_latest_seconds_and_the_whole_run_have_figures() {
    let mut live = Live::default();
    live.feed("worker.1/r.csv", HEAD.as_bytes());
    live.feed("worker.2/r.csv", HEAD.as_bytes());
    // 20 a second for 30 seconds, then 100 a second for 15 seconds with errors, on each worker.
    let slow = |offset| rows((offset..30_000).step_by(50), good);
    let fast = |offset| rows((30_000 + offset..45_000).step_by(10), |at| at % 50 < 10);
    let workers = [("worker.1/r.csv", 0), ("worker.2/r.csv", 3)];
    for (worker, offset) in workers {
        live.feed(worker, slow(offset).as_bytes());
    }
    let snapshot = live.snapshot(T + 30_000);
    assert_eq!(
        (snapshot.last.throughput, snapshot.last_seconds),
        (40.0, 10)
    );
    for (worker, offset) in workers {
        live.feed(worker, fast(offset).as_bytes());
    }
    let snapshot = live.snapshot(T + 45_000);
    assert_eq!(snapshot.last.throughput, 200.0);
    assert!((snapshot.last.error_percent - 20.0).abs() < 0.5);
    assert_eq!(
        (snapshot.last.samples, snapshot.total.samples),
        (2000, 4200)
    );
    assert_eq!((snapshot.last.min, snapshot.last.max), (10.0, 93.0));
    assert!(
        (snapshot.last.p50 - 51.5).abs() <= 2.0,
        "{:?}",
        snapshot.last
    );
    assert_eq!(snapshot.active, Some(14.0));
    let codes = snapshot.codes.iter();
    let codes: Vec<(&str, u64)> = codes.map(|code| (code.code.as_str(), code.count)).collect();
    assert_eq!(codes, [("200", 3600), ("500", 600)]);
    assert_eq!(snapshot.labels[0].last.throughput, 200.0);
    assert_eq!(snapshot.workers.len(), 2);
    assert_eq!(snapshot.workers[0].last.throughput, 100.0);
    assert_eq!(snapshot.newest, Some(T + 45_086));
    assert_eq!(snapshot.series.points.len(), 46);
    assert_eq!(snapshot.clone().since(T + 40_000).series.points.len(), 6);
    // Both workers are silent: no samples in the latest seconds.
    let silent = live.snapshot(T + 90_000);
    assert_eq!((silent.last.samples, silent.total.samples), (0, 4200));
    // A worker that is lost has no users, and its samples are kept.
    live.lost("worker.2/r.csv");
    let lost = live.snapshot(T + 91_000);
    assert_eq!((lost.active, lost.total.samples), (Some(7.0), 4200));
    assert_eq!(lost.sources[1].state, SourceState::Lost);
    assert!(
        serde_json::to_string(&lost)
            .unwrap()
            .contains("\"lastSeconds\":10")
    );
}

#[test]
fn of_many_labels_the_busiest_are_listed() {
    let mut text = HEAD.to_owned();
    for n in 0..100_u64 {
        for at in (0..10_000).step_by(usize::try_from(100 + n * 10).unwrap()) {
            writeln!(text, "{},5,label {n},true,,", T + at).unwrap();
        }
    }
    let mut live = Live::default();
    live.feed("master.1/r.csv", text.as_bytes());
    let snapshot = live.snapshot(T + 10_000);
    assert_eq!((snapshot.labels.len(), snapshot.labels_left_out), (50, 50));
    let names = snapshot.labels.iter().map(|label| label.name.as_str());
    assert_eq!(names.take(2).collect::<Vec<_>>(), ["label 0", "label 1"]);
}

#[test]
fn the_files_of_the_master_count_or_else_those_of_the_workers() {
    let mut live = Live::default();
    let text = HEAD.to_owned() + &rows((0..5000).step_by(10), good);
    live.feed("worker.1/r.csv", text.as_bytes());
    live.feed("master.1/run.log", b"starting\n");
    assert_eq!(live.snapshot(T + 6000).total.samples, 500);
    live.feed("master.1/all.csv", HEAD.as_bytes());
    live.feed("master.1/all.csv", rows(0..1000, good).as_bytes());
    assert_eq!(live.snapshot(T + 7000).total.samples, 1000);
}

#[test]
fn a_file_with_the_errors_of_another_one_is_not_counted_while_both_grow() {
    let failed = |at: u64| at.is_multiple_of(70);
    let mut live = Live::default();
    for path in ["worker.1/all.csv", "worker.1/errors.csv"] {
        live.feed(path, HEAD.as_bytes());
    }
    for second in 0..30 {
        let times = (second * 1000..(second + 1) * 1000).step_by(10);
        live.feed("worker.1/all.csv", rows(times.clone(), failed).as_bytes());
        // It is written a little later.
        if second > 0 {
            let times = times.map(|at| at - 500).filter(|at| failed(*at));
            live.feed("worker.1/errors.csv", rows(times, failed).as_bytes());
        }
        let snapshot = live.snapshot(T + (second + 1) * 1000);
        assert_eq!(
            snapshot.total.samples,
            (second + 1) * 100,
            "second {second}"
        );
    }
    let ignored = live.snapshot(T + 31_000).sources.remove(1).ignored;
    assert_eq!(
        ignored.as_deref(),
        Some("most of its samples are in `worker.1/all.csv`")
    );
}

#[test]
fn a_file_that_is_written_anew_starts_anew() {
    let mut live = Live::default();
    let old = HEAD.to_owned() + &rows((0..5000).step_by(10), good);
    let new = HEAD.to_owned() + &rows((7000..9000).step_by(20), |at| at % 200 == 0);
    live.feed("worker.1/r.csv", &old.as_bytes()[..old.len() - 5]);
    assert_eq!(live.snapshot(T + 5000).total.samples, 499);
    live.truncated("worker.1/r.csv");
    assert_eq!(live.snapshot(T + 6000).total.samples, 0);
    live.feed("worker.1/r.csv", new.as_bytes());
    live.ended("worker.1/r.csv");
    let snapshot = live.snapshot(T + 9000);
    assert_equal(&snapshot, &report(&[("worker.1/r.csv".into(), new.into())]));
    assert_eq!(snapshot.sources[0].restarts, 1);
}

#[test]
fn files_without_figures_during_a_run_are_listed_with_the_reason() {
    let mut live = Live::default();
    let garbage: Vec<u8> = (0..100_000_u64).map(|n| (n * n % 251) as u8).collect();
    live.feed("worker.1/core.bin", &garbage);
    live.feed("worker.1/results.jtl", &garbage);
    live.feed("worker.1/run.log", b"tool 1.0\n");
    live.feed("worker.1/summary.json", &read("k6", "summary-export.json"));
    live.feed("worker.1/l_stats.csv", &read("locust", "l_stats.csv"));
    live.ended("worker.1/run.log");
    live.ended("worker.1/summary.json");
    let snapshot = live.snapshot(T);
    let sources = snapshot.sources.iter().map(|source| {
        (
            source.path.as_str(),
            source.state,
            source.problem.as_deref().unwrap_or_default(),
        )
    });
    assert_eq!(
        sources.collect::<Vec<_>>(),
        [
            ("worker.1/l_stats.csv", SourceState::AtTheEnd, ""),
            ("worker.1/summary.json", SourceState::AtTheEnd, ""),
            (
                "worker.1/core.bin",
                SourceState::Skipped,
                "it is not a result file"
            ),
            (
                "worker.1/results.jtl",
                SourceState::Skipped,
                "its format is not recognised"
            ),
            (
                "worker.1/run.log",
                SourceState::Skipped,
                "it is not a result file"
            ),
        ]
    );
    assert_eq!((snapshot.total.samples, snapshot.doubts.len()), (0, 0));
}

#[test]
fn a_table_without_header_has_figures_as_soon_as_its_columns_are_certain() {
    let text = read("cases/03-jtl-headerless-16", "results.jtl");
    let long = text.repeat(10);
    let mut live = Live::default();
    live.feed("worker.1/r.jtl", &long[..1000]);
    assert_eq!(live.snapshot(T).sources[0].state, SourceState::Waiting);
    live.feed("worker.1/r.jtl", &long[1000..]);
    let snapshot = live.snapshot(T);
    assert_eq!(snapshot.sources[0].state, SourceState::Reading);
    assert_eq!(snapshot.total.samples, 1200);
}

#[test]
fn rows_that_cannot_be_read_make_the_figures_doubtful() {
    let mut live = Live::new(vec![window(Metric::ErrorPercent, 5)]);
    live.feed("worker.1/r.csv", HEAD.as_bytes());
    live.feed(
        "worker.1/r.csv",
        rows((0..20_000).step_by(10), |_| true).as_bytes(),
    );
    assert_eq!(live.windows(T + 20_000)[0], LastWindow::Value(100.0));
    live.feed("worker.1/r.csv", "x,y\n".repeat(100).as_bytes());
    assert_eq!(live.snapshot(T + 21_000).doubts.len(), 1);
    assert_eq!(live.windows(T + 21_000)[0].value(), None);
}

#[test]
fn iterations_of_a_test_without_http_are_live() {
    let text = read("cases/56-k6-grpc-points", "p.json");
    let mut live = Live::default();
    live.feed("worker.1/p.json", &text);
    let during = live.snapshot(T).total.samples;
    live.ended("worker.1/p.json");
    let end = live.snapshot(T).total.samples;
    assert!(end > 0);
    // The file has no end of line.
    assert!(during == end || during + 1 == end, "{during} of {end}");
}

/// Feeds a growing file second by second in blocks, and returns the values of the first window at each second.
fn values(
    windows: Vec<Window>,
    seconds: u64,
    block: u64,
    times: impl Fn(u64) -> Vec<u64>,
    is_failed: impl Fn(u64) -> bool,
) -> Vec<Option<f64>> {
    let mut live = Live::new(windows);
    live.feed("worker.1/r.csv", HEAD.as_bytes());
    let mut pending = String::new();
    let seconds = 1..=seconds;
    let values = seconds.map(|second| {
        pending += &rows(times(second - 1), &is_failed);
        if second.is_multiple_of(block) {
            live.feed("worker.1/r.csv", std::mem::take(&mut pending).as_bytes());
        }
        live.windows(T + second * 1000)[0].value()
    });
    values.collect()
}

fn steady(second: u64) -> Vec<u64> {
    (second * 1000..(second + 1) * 1000).step_by(100).collect()
}

#[test]
fn a_window_has_a_value_only_if_the_run_is_long_enough() {
    let values = values(throughput(20), 40, 1, steady, good);
    assert!(values[..19].iter().all(Option::is_none), "{values:?}");
    assert!(
        values[22..].iter().all(|value| *value == Some(10.0)),
        "{values:?}"
    );
}

#[test]
fn a_tool_that_writes_in_blocks_has_a_steady_throughput() {
    let values = values(throughput(10), 120, 14, steady, good);
    assert!(
        values.iter().flatten().all(|value| *value == 10.0),
        "{values:?}"
    );
    assert!(values[30..].iter().all(Option::is_some), "{values:?}");
}

#[test]
fn the_throughput_of_a_tool_that_hangs_becomes_zero() {
    let until_30 = |second: u64| {
        if second < 30 {
            steady(second)
        } else {
            Vec::new()
        }
    };
    for (block, zero_at) in [(1, 30 + 20 + 23), (10, 30 + 20 + 25)] {
        let values = values(throughput(20), 90, block, until_30, good);
        let zero = values.iter().position(|value| *value == Some(0.0)).unwrap();
        assert!(
            (49..=zero_at).contains(&zero),
            "blocks of {block}: {zero}, {values:?}"
        );
        assert!(
            values[..30].iter().flatten().all(|value| *value == 10.0),
            "{values:?}"
        );
    }
    // Without samples in the window other figures are unknown.
    let values = values(vec![window(Metric::Mean, 5)], 60, 1, until_30, good);
    assert_eq!(values.last(), Some(&None));
}

#[test]
fn a_tool_that_has_not_started_is_not_one_that_hangs() {
    let never = values(throughput(5), 60, 1, |_| Vec::new(), good);
    assert!(never.iter().all(Option::is_none));
}

#[test]
fn a_delay_of_the_transport_is_not_a_tool_that_hangs() {
    let mut live = Live::new(throughput(10));
    live.feed("worker.1/r.csv", HEAD.as_bytes());
    for second in 0..30 {
        live.feed("worker.1/r.csv", rows(steady(second), good).as_bytes());
        live.windows(T + (second + 1) * 1000);
    }
    // No bytes arrive, and it is known that they do not.
    for _ in 0..60 {
        assert_eq!(live.windows(T + 30_000)[0], LastWindow::Value(10.0));
    }
    for second in 30..90 {
        live.feed("worker.1/r.csv", rows(steady(second), good).as_bytes());
    }
    assert_eq!(live.windows(T + 90_000)[0], LastWindow::Value(10.0));
}

#[test]
fn errors_and_percentiles_are_those_of_the_latest_seconds() {
    let late = |at: u64| at >= 20_000 && at.is_multiple_of(400);
    let found = values(vec![window(Metric::ErrorPercent, 10)], 40, 1, steady, late);
    assert_eq!((found[18], found[39]), (Some(0.0), Some(25.0)));
    let rising = found[20..31].iter().flatten();
    assert!(
        rising
            .clone()
            .zip(rising.skip(1))
            .all(|(one, next)| one <= next),
        "{found:?}"
    );
    let p = values(
        vec![window(Metric::Percentile(50.0), 10)],
        40,
        1,
        steady,
        good,
    );
    assert!(p[39].is_some_and(|p| (10.0..100.0).contains(&p)), "{p:?}");
}

#[test]
fn a_label_without_samples_has_no_windows() {
    let of = |label: &str| Window {
        label: Some(label.to_owned()),
        metric: Metric::Throughput,
        seconds: 5,
    };
    let mut live = Live::new(vec![of("Home"), of("Hme")]);
    live.feed("worker.1/r.csv", HEAD.as_bytes());
    live.feed(
        "worker.1/r.csv",
        rows((0..20_000).step_by(100), good).as_bytes(),
    );
    let values = live.windows(T + 20_000);
    assert_eq!(values[0], LastWindow::Value(10.0));
    assert_eq!(
        values[1],
        LastWindow::Unknown("there is no sample of `Hme` yet".to_owned())
    );
}

#[test]
fn a_sample_with_a_time_in_the_future_does_not_hide_the_others() {
    let mut live = Live::new(throughput(5));
    live.feed("worker.1/r.csv", HEAD.as_bytes());
    for second in 0..30 {
        live.feed("worker.1/r.csv", rows(steady(second), good).as_bytes());
        if second == 10 {
            live.feed("worker.1/r.csv", rows([86_400_000_000], good).as_bytes());
        }
        live.windows(T + (second + 1) * 1000);
    }
    let snapshot = live.snapshot(T + 30_000);
    assert_eq!(
        (snapshot.total.samples, snapshot.last.throughput),
        (301, 10.0)
    );
    assert_eq!(live.windows(T + 30_000)[0], LastWindow::Value(10.0));
}

const LOCUST: &str = "Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%,Total Request Count,Total Failure Count,Total Median Response Time,Total Average Response Time,Total Min Response Time,Total Max Response Time,Total Average Content Size\n";

fn locust_row(second: u64, requests: u64) -> String {
    format!(
        "{},5,,Aggregated,60.0,0.0,54,57,58,61,62,65,65,66,70,70,70,{requests},{},54,50.0,12,70,100.0\n",
        T / 1000 + second,
        requests / 10
    )
}

#[test]
fn a_steady_rate_of_workers_that_report_at_intervals_is_a_level_line() {
    // Workers with 20 and 40 requests a second report every 3 seconds, at different seconds.
    let reported = |second: u64, phase: u64, rate: u64| {
        let last = second.checked_sub((second + 3 - phase) % 3);
        last.unwrap_or_default() * rate
    };
    for phases in [[0, 0], [1, 2], [0, 1], [2, 2]] {
        let total = |second| reported(second, phases[0], 20) + reported(second, phases[1], 40);
        let mut text = LOCUST.to_owned();
        let mut live = Live::new(throughput(10));
        let path = "master.1/l_stats_history.csv";
        live.feed(path, LOCUST.as_bytes());
        for second in 0..60 {
            let row = locust_row(second, total(second));
            live.feed(path, row.as_bytes());
            text += &row;
            let snapshot = live.snapshot(T + second * 1000 + 200);
            if second > 15 {
                assert_eq!(snapshot.last.throughput, 60.0, "{phases:?} {second}");
            }
            let value = live.windows(T + second * 1000 + 200)[0].value();
            // The first reports of workers are of parts of an interval.
            let (low, high) = if second < 20 {
                (50.0, 72.0)
            } else {
                (60.0, 60.0)
            };
            assert!(
                value.map_or(second < 20, |value| (low..=high).contains(&value)),
                "{phases:?} {second} {value:?}"
            );
        }
        let snapshot = live.snapshot(T + 60_000);
        assert!(snapshot.is_summarised && snapshot.active == Some(5.0));
        assert_eq!(
            (snapshot.total.samples, snapshot.total.mean),
            (total(59), 50.0)
        );
        assert_eq!(
            (snapshot.last.p95, snapshot.last.error_percent),
            (65.0, 10.0)
        );
        let series = report(&[(path.to_owned(), text.into_bytes())]).series;
        let series = if series.points.is_empty() {
            snapshot.series
        } else {
            series
        };
        let samples: Vec<u64> = series.points.iter().map(|point| point.samples).collect();
        assert_eq!(samples.iter().sum::<u64>(), total(59), "{phases:?}");
        assert!(
            samples[6..56].iter().all(|samples| *samples == 60),
            "{phases:?} {samples:?}"
        );
    }
}

#[test]
fn rows_of_locust_before_the_first_request_are_no_part_of_a_window() {
    // Users without requests until the second 80, or none until 80 or 83.
    for (users_from, reports) in [(20, 1), (80, 1), (80, 3), (83, 3)] {
        let mut live = Live::new(throughput(10));
        let path = "master.1/l_stats_history.csv";
        live.feed(path, LOCUST.as_bytes());
        for second in 0..140_u64 {
            let made = second.saturating_sub(80) * 60;
            let row = locust_row(second, made / (60 * reports) * (60 * reports));
            let row = match second < users_from {
                true => row.replace(",5,,Aggregated", ",0,,Aggregated"),
                false => row,
            };
            live.feed(path, row.as_bytes());
            let value = live.windows(T + second * 1000 + 200)[0].value();
            let name =
                format!("users from {users_from}, reports of {reports} s: {value:?} at {second}");
            assert!(value.is_none_or(|value| value == 60.0), "{name}");
            assert!(value.is_some() || second < 100, "{name}");
        }
        let points = live.snapshot(T + 140_000).series.points;
        let first = points.iter().find(|point| point.samples > 0).unwrap();
        assert!(first.at >= T + 79_000, "users from {users_from}: {first:?}");
    }
}

#[test]
fn windows_of_a_summarised_run_are_those_of_its_intervals() {
    let stats = "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%\n,Aggregated,3600,360,54,50.0,12,70,100.0,60.0,6.0,54,57,58,61,62,65,65,66,70,70,70\n";
    let history: String = (0..=60)
        .map(|second| locust_row(second, second / 3 * 180))
        .collect();
    let windows = [
        window(Metric::Throughput, 10),
        window(Metric::ErrorPercent, 10),
        window(Metric::Mean, 10),
        window(Metric::Percentile(95.0), 10),
    ];
    let mut tally = Tally::new(Options {
        windows: windows.to_vec(),
    });
    for (name, text) in [
        ("m.1/l_stats.csv", stats),
        ("m.1/l_stats_history.csv", &(LOCUST.to_owned() + &history)),
    ] {
        let source = tally.read(name, None, text.as_bytes()).unwrap();
        assert_eq!(source.problem, None);
    }
    let finished = tally.finish("t", "r");
    assert_eq!(finished.report.total.samples, 3600);
    let found = finished.windows.windows;
    let values = |at: usize| {
        let extremes = [found[at].min, found[at].max];
        extremes.map(|extreme| extreme.map(|extreme| extreme.value))
    };
    assert_eq!(values(0), [Some(60.0), Some(60.0)]);
    assert_eq!(values(1), [Some(10.0), Some(10.0)]);
    let [shortest, longest] = values(2).map(Option::unwrap);
    assert!((shortest - 50.0).abs() < 0.01 && (longest - 50.0).abs() < 0.01);
    assert_eq!(values(3), [None, None]);
    assert!(
        found[0].complete && found[0].windows == 51,
        "{:?}",
        found[0]
    );
}

#[test]
fn a_run_whose_bytes_are_read_again_has_no_silent_tool() {
    let mut live = Live::new(throughput(10));
    let text = HEAD.to_owned() + &rows((0..60_000).step_by(100), good);
    live.feed("worker.1/r.csv", text.as_bytes());
    // The tool writes in blocks; how long they take is not known again yet.
    for second in 60..90 {
        assert_eq!(live.windows(T + second * 1000)[0], LastWindow::Value(10.0));
    }
    assert_eq!(live.windows(T + 300_000)[0], LastWindow::Value(0.0));
}

#[test]
fn the_last_seconds_of_a_run_remain_after_its_end() {
    let mut live = Live::default();
    let text = HEAD.to_owned() + &rows((0..60_000).step_by(100), good);
    live.feed("worker.1/r.csv", text.as_bytes());
    live.ended("worker.1/r.csv");
    for second in [60, 70, 600] {
        let snapshot = live.snapshot(T + second * 1000);
        assert_eq!(snapshot.last.samples, 100, "second {second}");
    }
}

#[test]
fn many_pages_of_a_report_do_not_keep_out_results() {
    let mut live = Live::default();
    for n in 0..3000 {
        let path = format!("master.1/report/{n}.html");
        live.feed(&path, b"<html><head></head></html>");
        live.ended(&path);
    }
    live.feed(
        "master.1/r.csv",
        (HEAD.to_owned() + &rows(0..100, good)).as_bytes(),
    );
    let snapshot = live.snapshot(T + 1000);
    assert_eq!((snapshot.total.samples, snapshot.doubts.len()), (100, 0));
    assert_eq!(
        (snapshot.sources.len(), snapshot.sources_left_out),
        (200, 2801)
    );
    for n in 0..1200 {
        live.feed(&format!("master.1/{n}.csv"), b"timestamp,elapsed");
    }
    let snapshot = live.snapshot(T + 2000);
    assert_eq!(
        snapshot.doubts,
        ["201 or more files are not read: at most 1000 are"]
    );
}

#[test]
fn it_can_be_moved_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&Live::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_window_has_the_samples_of_the_latest_seconds(
        workers in prop::collection::vec(prop::collection::vec((0..60_000_u64, 0..2000_u64, prop::bool::weighted(0.2)), 1..80), 1..3),
        seconds in 1..20_u32,
    ) {
        let metrics = [Metric::Throughput, Metric::Mean, Metric::ErrorPercent, Metric::Max];
        let mut live = Live::new(metrics.map(|metric| window(metric, seconds)).to_vec());
        for (number, samples) in workers.iter().enumerate() {
            let path = format!("worker.{number}/r.csv");
            let rows = samples.iter().map(|(at, elapsed, failed)| {
                // Different milliseconds, so that no file is a copy.
                format!("{},{elapsed},Home {number},{},,\n", T + at, !failed)
            });
            let mut samples: Vec<String> = rows.collect();
            samples.insert(0, HEAD.to_owned());
            live.feed(&path, samples.concat().as_bytes());
        }
        let end = |(at, elapsed, _): &(u64, u64, bool)| (T + at + elapsed) / 1000;
        let first = workers.iter().flatten().map(|(at, ..)| T + at).min().unwrap().div_ceil(1000);
        let ends: Vec<u64> = workers.iter().map(|samples| samples.iter().map(end).max().unwrap()).collect();
        let is_long = ends.iter().all(|end| end.saturating_sub(first) >= u64::from(seconds));
        let inside: Vec<(u64, u64, bool)> = workers
            .iter()
            .zip(&ends)
            .flat_map(|(samples, last)| {
                let window = last - u64::from(seconds)..*last;
                samples.iter().filter(move |sample| window.contains(&end(sample))).copied()
            })
            .collect();
        let count = inside.len() as f64;
        let elapsed = inside.iter().map(|(_, elapsed, _)| *elapsed);
        let failed = inside.iter().filter(|(.., failed)| *failed).count() as f64;
        let mut wanted = [
            Some(count / f64::from(seconds)),
            Some(elapsed.clone().sum::<u64>() as f64 / count),
            Some(failed / count * 100.0),
            elapsed.max().map(|max| max as f64),
        ];
        if inside.is_empty() {
            wanted[1..].fill(None);
        }
        if !is_long {
            wanted.fill(None);
        }
        let found: Vec<Option<f64>> = live.windows(T + 62_000).iter().map(LastWindow::value).collect();
        for (found, wanted) in found.iter().zip(wanted) {
            match (found, wanted) {
                (Some(found), Some(wanted)) => prop_assert!((found - wanted).abs() < 1e-9, "{found} {wanted}"),
                (found, wanted) => prop_assert_eq!(found, &wanted),
            }
        }
    }
}

#[test]
fn parts_are_measured_as_in_the_report() {
    use atq_report::live::Measure;
    let mut live = Live::new(Vec::new());
    let mut tally = Tally::new(Options::default());
    for worker in 1..=2 {
        let mut text = "timestamp,elapsed,label,success\n".to_owned();
        for number in 0..100 {
            let (at, elapsed) = (1_795_255_200_000u64 + number * 10, number * worker + 1);
            let label = if number % 3 == 0 { "Login" } else { "Cart" };
            text.push_str(&format!("{at},{elapsed},{label},true\n"));
        }
        let path = format!("worker.{worker}/results.csv");
        live.feed(&path, text.as_bytes());
        let name = format!("worker.{worker}");
        tally.read(&path, Some(&name), text.as_bytes()).unwrap();
    }
    let parts = [None, Some("Login"), Some("Search")];
    let measured = live.measure(parts.map(|label| Measure {
        label,
        percentile: Some(97.5),
    }));
    for (label, measured) in parts.into_iter().zip(&measured) {
        let expected = tally.percentile(label, 97.5);
        assert_eq!(measured.as_ref().and_then(|part| part.percentile), expected);
    }
    let report = tally.finish("t", "r").report;
    let login = report.labels.iter().find(|label| label.name == "Login");
    assert_eq!(measured[0].as_ref().unwrap().figures, report.total);
    assert_eq!(
        measured[1].as_ref().unwrap().figures,
        login.unwrap().figures
    );
    assert_eq!(measured[2], None);
}

#[test]
fn each_sample_is_in_the_bucket_of_its_response_time() {
    let mut live = Live::new(Vec::new());
    let mut text = "timestamp,elapsed,label,success\n".to_owned();
    for (number, elapsed) in [1, 5, 6, 250, 251, 1000, 60_000, 60_100]
        .into_iter()
        .enumerate()
    {
        let at = 1_795_255_200_000 + number as u64 * 1000;
        text.push_str(&format!("{at},{elapsed},Login,true\n"));
    }
    live.feed("worker.1/results.csv", text.as_bytes());
    let buckets = live.snapshot(1_795_255_300_000).response_times;
    let counts: Vec<_> = buckets
        .iter()
        .map(|bucket| (bucket.up_to, bucket.count))
        .filter(|(_, count)| *count > 0)
        .collect();
    let expected = [
        (Some(5), 2),
        (Some(10), 1),
        (Some(250), 1),
        (Some(500), 1),
        (Some(1000), 1),
        (Some(60_000), 1),
        (None, 1),
    ];
    assert_eq!(counts, expected);
    assert_eq!(buckets.len(), 14);
}
