//! Windows during a run, with clocks that differ, tools that write late, and rows in the future.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use atq_report::live::{LastWindow, Live};
use atq_report::{Metric, Window};
use std::fmt::Write as _;

/// Start of the runs in milliseconds since 1970.
const T: u64 = 1_760_000_000_000;
const HEAD: &str = "timestamp,elapsed,label,success\n";
const PATH: &str = "worker.1/r.csv";

fn throughput(seconds: u32) -> Vec<Window> {
    vec![Window {
        label: None,
        metric: Metric::Throughput,
        seconds,
    }]
}

/// Ten samples in a second of the run, as a clock shows it that is ahead by these milliseconds.
fn second(second: u64, ahead: i64) -> String {
    let mut text = String::new();
    for at in (0..1000).step_by(100) {
        let at = (T + second * 1000 + at).checked_add_signed(ahead).unwrap();
        writeln!(text, "{at},5,Home,true").unwrap();
    }
    text
}

/// A worker with ten samples a second.
struct Worker {
    /// Milliseconds by which its clock is ahead.
    ahead: i64,
    /// Seconds from the end of a sample to its arrival.
    latency: u64,
    /// Seconds between blocks.
    block: u64,
    /// A pause without samples, in seconds of the run.
    pause: std::ops::Range<u64>,
    /// The second of the run in which it hangs.
    hangs_at: u64,
}

const STEADY: Worker = Worker {
    ahead: 0,
    latency: 0,
    block: 1,
    pause: 0..0,
    hangs_at: 900,
};

impl Worker {
    /// The values of the window at each second of the run.
    fn values(&self, window: u32, seconds: u64) -> Vec<Option<f64>> {
        let mut live = Live::new(throughput(window));
        live.feed(PATH, HEAD.as_bytes());
        let mut pending = String::new();
        let values = (1..=seconds).map(|now| {
            let arrives = now.checked_sub(1 + self.latency);
            let is_sent = |at: &u64| *at < self.hangs_at && !self.pause.contains(at);
            if let Some(at) = arrives.filter(is_sent) {
                pending += &second(at, self.ahead);
            }
            let is_end_of_block = arrives.is_some_and(|at| (at + 1) % self.block == 0);
            if is_end_of_block {
                live.feed(PATH, std::mem::take(&mut pending).as_bytes());
            }
            live.windows(T + now * 1000)[0].value()
        });
        values.collect()
    }
}

/// The first second at which the throughput is below one a second.
fn found_at(values: &[Option<f64>]) -> Option<usize> {
    let is_low = |value: &Option<f64>| value.is_some_and(|value| value < 1.0);
    values.iter().position(is_low).map(|index| index + 1)
}

#[test]
fn a_worker_with_another_clock_or_late_files_is_steady_until_it_hangs() {
    let of_clock = |ahead| Worker { ahead, ..STEADY };
    let workers = [
        ("in time", STEADY, 23),
        ("5 s behind", of_clock(-5_000), 23),
        ("30 s behind", of_clock(-30_000), 23),
        ("5 s ahead", of_clock(5_000), 23),
        ("30 s ahead", of_clock(30_000), 23),
        (
            "written 10 s late",
            Worker {
                latency: 10,
                ..STEADY
            },
            33,
        ),
        (
            "30 s behind and written 10 s late",
            Worker {
                latency: 10,
                ..of_clock(-30_000)
            },
            33,
        ),
    ];
    for (name, worker, late) in workers {
        for window in [5, 20, 60] {
            let values = worker.values(window, 1000);
            let start = window as usize + 40;
            let steady = &values[start..899];
            assert!(
                steady.iter().all(|value| *value == Some(10.0)),
                "{name}, {window} s: {steady:?}"
            );
            let before = values[..start].iter().flatten();
            assert!(
                before.clone().all(|value| *value == 10.0),
                "{name}, {window} s: {:?}",
                &values[..start]
            );
            let found = found_at(&values).unwrap();
            // The last tenth of the window is empty first.
            let window_length = window as usize;
            let expected = 900 + window_length * 9 / 10..=900 + window_length + late;
            assert!(expected.contains(&found), "{name}, {window} s: {found}");
        }
    }
}

#[test]
fn blocks_of_a_minute_are_no_silence_and_a_hang_is_found_after_two_more() {
    for ahead in [-30_000, 0, 30_000] {
        let worker = Worker {
            ahead,
            block: 60,
            ..STEADY
        };
        let values = worker.values(30, 1200);
        let known = values[..899].iter().flatten();
        assert!(known.clone().all(|value| *value == 10.0), "{values:?}");
        assert!(known.count() > 700, "{values:?}");
        let found = found_at(&values).unwrap();
        assert!((930..=900 + 30 + 125).contains(&found), "{found}");
    }
}

#[test]
fn a_pause_in_the_past_does_not_delay_the_detection_of_a_hang() {
    let worker = Worker {
        pause: 100..400,
        ..STEADY
    };
    let values = worker.values(20, 1000);
    let pause = found_at(&values).unwrap();
    assert!((120..=143).contains(&pause), "{pause}");
    let later = &values[450..];
    let hang = 450 + found_at(later).unwrap();
    assert!((920..=943).contains(&hang), "{hang}");
}

#[test]
fn a_clock_that_is_set_back_is_no_silence() {
    let mut live = Live::new(throughput(10));
    live.feed(PATH, HEAD.as_bytes());
    for now in 1..120 {
        let ahead = if now > 60 { -20_000 } else { 0 };
        live.feed(PATH, second(now - 1, ahead).as_bytes());
        let value = live.windows(T + now * 1000)[0].value();
        assert!(value.is_none_or(|value| value >= 10.0), "{now}: {value:?}");
    }
}

#[test]
fn a_row_in_the_future_stops_no_run() {
    // A minute and an hour ahead, at the start and later, once and repeatedly.
    for ahead in [60, 3599, 3600] {
        for rows_at in [vec![3], vec![100], (1..300).step_by(10).collect()] {
            let mut live = Live::new(throughput(10));
            live.feed(PATH, HEAD.as_bytes());
            for now in 1..300 {
                live.feed(PATH, second(now - 1, 0).as_bytes());
                if rows_at.contains(&now) {
                    let at = T + (now + ahead) * 1000;
                    live.feed(PATH, format!("{at},5,Home,true\n").as_bytes());
                }
                let value = live.windows(T + now * 1000)[0].value();
                let name = format!("{ahead} s ahead at {rows_at:?}: {value:?} at {now}");
                assert!(value.is_none_or(|value| value >= 10.0), "{name}");
                if rows_at.len() == 1 && now > 20 {
                    assert!(value.is_some_and(|value| value <= 10.1), "{name}");
                    let last = live.snapshot(T + now * 1000).last.samples;
                    assert!((99..=101).contains(&last), "{name} {last}");
                }
            }
        }
    }
}

#[test]
fn rows_in_the_future_that_hide_the_others_are_a_doubt() {
    let mut live = Live::new(throughput(10));
    live.feed(PATH, HEAD.as_bytes());
    for now in 1..30 {
        live.feed(PATH, second(now - 1, 0).as_bytes());
        live.windows(T + now * 1000);
    }
    for number in 0..100 {
        let at = T + 60_000 + number * 1000;
        live.feed(PATH, format!("{at},5,Home,true\n").as_bytes());
    }
    let text = "the result file `worker.1/r.csv`: the latest rows are dated in the future";
    let unknown = live.windows(T + 31_000);
    assert_eq!(unknown, [LastWindow::Unknown(text.to_owned())]);
    assert_eq!(live.snapshot(T + 31_000).doubts, [text]);
}

#[test]
fn workers_whose_clocks_differ_have_no_window_before_their_first_sample() {
    for ahead in [-40_000, 40_000] {
        let mut live = Live::new(throughput(20));
        for now in 1..100 {
            for (path, ahead) in [("worker.1/r.csv", 0), ("worker.2/r.csv", ahead)] {
                let head = if now == 1 { HEAD } else { "" };
                live.feed(path, (head.to_owned() + &second(now - 1, ahead)).as_bytes());
            }
            let value = live.windows(T + now * 1000)[0].value();
            assert!(value.is_none_or(|value| value == 20.0), "{now}: {value:?}");
            assert!(value.is_some() || now < 25, "{now}");
        }
    }
}

/// The values of a window of 10 s below and above the steady rate of 10/s.
fn unsteady(values: impl IntoIterator<Item = Option<f64>>) -> Vec<f64> {
    let known = values.into_iter().flatten();
    known.filter(|value| (value - 10.0).abs() > 1.0).collect()
}

#[test]
fn a_rotated_file_and_its_successor_have_one_rate() {
    for block in [1, 10] {
        let mut live = Live::new(throughput(10));
        let mut values = Vec::new();
        let mut text = HEAD.to_owned();
        for now in 1..300 {
            text.push_str(&second(now - 1, 0));
            if now.is_multiple_of(block) {
                live.feed(PATH, text.as_bytes());
                text.clear();
            }
            if now.is_multiple_of(100) {
                live.renamed(&[
                    (
                        "worker.1/r.csv.1".to_owned(),
                        Some("worker.1/r.csv.2".to_owned()),
                    ),
                    (PATH.to_owned(), Some("worker.1/r.csv.1".to_owned())),
                ]);
                live.feed(PATH, HEAD.as_bytes());
            }
            values.push(live.windows(T + now * 1000)[0].value());
        }
        // For a moment after a rotation, the new file is behind the rotated one, or has no row yet.
        let rates = unsteady(values.iter().copied());
        let most = rates.iter().copied().fold(0.0, f64::max);
        assert!(most < 12.0, "{block} s: {rates:?}");
        let whole_blocks = 299 / block * block;
        assert_eq!(live.snapshot(T + 300_000).total.samples, 10 * whole_blocks);
    }
}

#[test]
fn a_file_that_ended_before_a_restart_is_silent_since_its_last_bytes() {
    let mut live = Live::new(throughput(10));
    let old = "worker.1/first.csv";
    for (path, from) in [(old, 0), (PATH, 600)] {
        live.feed(path, HEAD.as_bytes());
        for number in from..from + 100 {
            live.feed(path, second(number, 0).as_bytes());
        }
        live.restored(path, T + (from + 100) * 1000);
    }
    let mut values = Vec::new();
    for now in 701..900 {
        live.feed(PATH, second(now - 1, 0).as_bytes());
        values.push(live.windows(T + now * 1000)[0].value());
    }
    assert_eq!(unsteady(values.clone()), [] as [f64; 0]);
    assert!(values.iter().flatten().count() > 150, "{values:?}");
}

#[test]
fn a_tool_that_fills_its_buffer_more_slowly_is_not_silent() {
    let mut live = Live::new(throughput(10));
    live.feed(PATH, HEAD.as_bytes());
    let mut block = String::new();
    for now in 1..300 {
        // Ten samples in a block each second, later one a second in a block of 16 s.
        let rows = second(now - 1, 0);
        match now < 100 {
            true => block.push_str(&rows),
            false => block.extend(rows.split_inclusive('\n').take(1)),
        }
        if now < 100 || now % 16 == 0 {
            live.feed(PATH, block.as_bytes());
            block.clear();
        }
        let value = live.windows(T + now * 1000)[0].value();
        assert!(value.is_none_or(|value| value > 0.0), "{now}: {value:?}");
    }
}
