//! Files with some of the samples of another one, in every second, and files without.
#![allow(clippy::unwrap_used)]

use atq_report::{Options, Tally};
use std::fmt::Write;

const START: u64 = 1_709_287_200_000;

/// A sample of a test with threads.
#[derive(Debug, Clone)]
struct Row {
    at: u64,
    elapsed: u64,
    label: &'static str,
    thread: String,
    is_failed: bool,
}

/// Deterministic pseudo-random numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Threads that send requests sequentially.
fn closed_loop(seed: u64, threads: u64, seconds: u64, slowest: u64) -> Vec<Row> {
    let mut numbers = Numbers(seed);
    let mut rows = Vec::new();
    for thread in 1..=threads {
        let mut at = START + numbers.below(500);
        let mut label = ["Home", "Login", "Cart"].iter().cycle();
        while at < START + seconds * 1000 {
            let elapsed = 1 + numbers.below(slowest);
            rows.push(Row {
                at,
                elapsed,
                label: label.next().unwrap(),
                thread: format!("Users 1-{thread}"),
                is_failed: numbers.below(25) == 0,
            });
            at += elapsed + numbers.below(3);
        }
    }
    rows.sort_by_key(|row| row.at + row.elapsed);
    rows
}

/// Requests at a steady rate, as from k6 or a timer.
fn steady(seed: u64, offset: u64, period: u64, seconds: u64, elapsed: u64) -> Vec<Row> {
    let mut numbers = Numbers(seed);
    let count = seconds * 1000 / period;
    let rows = (0..count).map(|n| Row {
        at: START + offset + n * period,
        elapsed: 1 + numbers.below(elapsed),
        label: "Home",
        thread: "Users 1-1".to_owned(),
        is_failed: false,
    });
    rows.collect()
}

fn jtl<'a>(rows: impl IntoIterator<Item = &'a Row>, has_threads: bool) -> String {
    let mut text = match has_threads {
        true => "timeStamp,elapsed,label,responseCode,threadName,success\n".to_owned(),
        false => "timeStamp,elapsed,label,responseCode,success\n".to_owned(),
    };
    for row in rows {
        let code = if row.is_failed { "500" } else { "200" };
        write!(text, "{},{},{},{code},", row.at, row.elapsed, row.label).unwrap();
        if has_threads {
            write!(text, "{},", row.thread).unwrap();
        }
        writeln!(text, "{}", !row.is_failed).unwrap();
    }
    text
}

/// The number of counted samples, and the doubts.
fn read(files: &[(&str, String)]) -> (u64, Vec<String>) {
    let mut tally = Tally::new(Options::default());
    for (name, text) in files {
        let source = tally.read(name, None, text.as_bytes()).unwrap();
        assert_eq!(source.problem, None, "{name}");
    }
    let finished = tally.finish("task", "run");
    (finished.report.total.samples, finished.doubts)
}

#[track_caller]
fn assert_doubted(files: &[(&str, String)]) {
    let (samples, doubts) = read(files);
    let doubted = doubts.iter().any(|doubt| {
        doubt.contains("have some of the same samples") && doubt.contains("`resultFiles`")
    });
    assert!(doubted, "{samples} samples, {doubts:?}");
}

#[track_caller]
fn assert_added(files: &[(&str, String)], wanted: usize) {
    let (samples, doubts) = read(files);
    assert_eq!(doubts, Vec::<String>::new());
    assert_eq!(samples, u64::try_from(wanted).unwrap());
}

#[test]
fn one_thread_of_many() {
    for (threads, slowest) in [(10, 900), (20, 5), (50, 40)] {
        let rows = closed_loop(threads, threads, 60, slowest);
        let one = rows.iter().filter(|row| row.thread == "Users 1-3");
        assert_doubted(&[
            ("w.1/all.jtl", jtl(&rows, true)),
            ("w.1/one.jtl", jtl(one, true)),
        ]);
    }
}

#[test]
fn the_slow_samples_of_a_file() {
    let rows = closed_loop(3, 10, 60, 100);
    let slow = || rows.iter().filter(|row| row.elapsed > 95);
    assert!(slow().count() > 50);
    for has_threads in [true, false] {
        assert_doubted(&[
            ("w.1/all.jtl", jtl(&rows, has_threads)),
            ("w.1/slow.jtl", jtl(slow(), has_threads)),
        ]);
    }
    // Another container makes no difference.
    assert_doubted(&[
        ("w.1/all.jtl", jtl(&rows, true)),
        ("w.2/slow.jtl", jtl(slow(), true)),
    ]);
}

#[test]
fn two_samples_of_a_file() {
    let rows = closed_loop(4, 5, 60, 900);
    assert_doubted(&[
        ("w.1/all.jtl", jtl(&rows, true)),
        (
            "w.1/two.jtl",
            jtl(rows.iter().step_by(rows.len() / 2 + 1), true),
        ),
    ]);
}

#[test]
fn the_errors_of_several_files_together() {
    let rows = closed_loop(5, 10, 60, 200);
    let errors: Vec<Row> = rows.iter().filter(|row| row.is_failed).cloned().collect();
    let mut files: Vec<(String, String)> = (1..=10)
        .map(|thread| {
            let name = format!("Users 1-{thread}");
            let own = rows.iter().filter(|row| row.thread == name);
            (format!("w.1/{thread}.jtl"), jtl(own, true))
        })
        .collect();
    files.push(("w.1/errors.jtl".to_owned(), jtl(&errors, true)));
    let files: Vec<(&str, String)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    assert_doubted(&files);
    assert_added(&files[..10], rows.len());
}

#[test]
fn some_rows_without_the_column_of_success() {
    let rows = closed_loop(6, 5, 60, 300);
    let some = jtl(&rows, true)
        .lines()
        .map(|line| line.rsplit_once(',').unwrap().0.to_owned() + "\n")
        .collect::<String>();
    let some = some.replace("responseCode,", "").replace(",200,", ",");
    let some: String = some
        .split_inclusive('\n')
        .filter(|line| !line.contains(",500,"))
        .collect();
    assert_doubted(&[("w.1/all.jtl", jtl(&rows, true)), ("w.1/some.jtl", some)]);
}

#[test]
fn workers_with_the_same_plan_are_added() {
    for slowest in [1, 2, 5, 100, 2000] {
        for has_threads in [true, false] {
            let workers: Vec<Vec<Row>> = (0..8)
                .map(|seed| closed_loop(seed + 100, 5, 60, slowest))
                .collect();
            let names: Vec<String> = (1..=8).map(|slot| format!("w.{slot}/r.jtl")).collect();
            let files: Vec<(&str, String)> = names
                .iter()
                .zip(&workers)
                .map(|(name, rows)| (name.as_str(), jtl(rows, has_threads)))
                .collect();
            assert_added(&files, workers.iter().map(Vec::len).sum());
        }
    }
}

#[test]
fn workers_at_a_steady_rate_are_added() {
    for (period, elapsed) in [(10, 3), (100, 2), (1000, 4), (7, 20), (3, 2)] {
        for offset in [0, 1, 500] {
            let one = steady(1, 0, period, 300, elapsed);
            let other = steady(2, offset, period, 300, elapsed);
            assert_added(
                &[
                    ("w.1/r.jtl", jtl(&one, true)),
                    ("w.2/r.jtl", jtl(&other, true)),
                ],
                one.len() + other.len(),
            );
        }
    }
}

#[test]
fn two_runs_of_one_plan_in_a_container_are_added() {
    let one = closed_loop(7, 5, 60, 50);
    let mut other = closed_loop(8, 5, 60, 50);
    other.iter_mut().for_each(|row| row.at += 60_000);
    assert_added(
        &[
            ("w.1/first.jtl", jtl(&one, true)),
            ("w.1/second.jtl", jtl(&other, true)),
        ],
        one.len() + other.len(),
    );
}
