#![allow(clippy::unwrap_used, clippy::float_cmp)]

use super::*;
use crate::{Options, Tally};

fn results(rows: &[(u64, u64, bool)], windows: &[(Metric, u32)]) -> Vec<WindowResult> {
    let mut text = String::from("timestamp,elapsed,label,success\n");
    for (at, elapsed, ok) in rows {
        text += &format!("{at},{elapsed},a,{ok}\n");
    }
    let windows = windows.iter().map(|(metric, seconds)| Window {
        label: Some("a".into()),
        metric: *metric,
        seconds: *seconds,
    });
    let mut tally = Tally::new(Options {
        windows: windows.collect(),
    });
    tally.read("x", None, text.as_bytes()).unwrap();
    tally.finish("t", "r").windows.windows
}

const T: u64 = 1_760_000_000_000;

/// Reference implementation that computes every window separately.
fn reference(
    rows: &[(u64, u64, bool)],
    seconds: u64,
    of: impl Fn(&[u64]) -> Option<f64>,
) -> (f64, f64) {
    let end = |row: &(u64, u64, bool)| (row.0 + row.1) / 1000;
    let first = rows.iter().map(|row| row.0 / 1000).min().unwrap();
    let last = rows.iter().map(end).max().unwrap();
    let mut seen = (f64::MAX, f64::MIN);
    for from in first..=(last + 1 - seconds) {
        let inside = rows
            .iter()
            .filter(|row| (from..from + seconds).contains(&end(row)));
        let mut times: Vec<u64> = inside.map(|row| row.1).collect();
        times.sort_unstable();
        if let Some(value) = of(&times) {
            seen = (seen.0.min(value), seen.1.max(value));
        }
    }
    seen
}

#[test]
fn sliding_equals_the_reference_implementation() {
    // A fixed irregular sequence with a gap in the middle.
    let rows: Vec<(u64, u64, bool)> = (0..2000_u64)
        .map(|n| {
            let at = T + (n * 7919) % 60_000 + if n % 2 == 0 { 90_000 } else { 0 };
            (at, (n * n * 31) % 1999, n % 7 != 0)
        })
        .collect();
    let found = results(
        &rows,
        &[
            (Metric::Mean, 5),
            (Metric::Max, 5),
            (Metric::Percentile(50.0), 5),
            (Metric::Min, 30),
        ],
    );
    let check = |result: &WindowResult, seen: (f64, f64)| {
        let ours = (result.min.unwrap().value, result.max.unwrap().value);
        assert!(result.complete);
        let near = |a: f64, b: f64| (a - b).abs() <= b.abs() * 2e-3;
        assert!(
            near(ours.0, seen.0) && near(ours.1, seen.1),
            "{ours:?} {seen:?}"
        );
    };
    let mean = |times: &[u64]| {
        (!times.is_empty()).then(|| times.iter().sum::<u64>() as f64 / times.len() as f64)
    };
    check(&found[0], reference(&rows, 5, mean));
    check(
        &found[1],
        reference(&rows, 5, |times| times.last().map(|last| *last as f64)),
    );
    let median = |times: &[u64]| {
        let half = times.len() / 2;
        match times.len() {
            0 => None,
            even if even % 2 == 0 => Some((times[half - 1] + times[half]) as f64 / 2.0),
            _ => Some(times[half] as f64),
        }
    };
    check(&found[2], reference(&rows, 5, median));
    check(
        &found[3],
        reference(&rows, 30, |times| times.first().map(|first| *first as f64)),
    );
}

#[test]
fn throughput_counts_whole_seconds_and_gaps() {
    // 10 samples per second from 0.5 to 5.5 s, none until 8.5 s.
    let mut rows: Vec<(u64, u64, bool)> = (0..50).map(|n| (T + 500 + n * 100, 0, true)).collect();
    rows.push((T + 8500, 0, true));
    let found = results(&rows, &[(Metric::Throughput, 2)]);
    assert_eq!(
        (found[0].min.unwrap().value, found[0].max.unwrap().value),
        (0.0, 10.0)
    );
    assert_eq!(found[0].max.unwrap().at, T + 1000);
}

#[test]
fn a_run_shorter_than_the_window_is_one_window() {
    let found = results(
        &[(T, 100, true), (T + 500, 300, false)],
        &[(Metric::ErrorPercent, 60), (Metric::Throughput, 60)],
    );
    assert!(!found[0].complete && found[0].windows == 1);
    assert_eq!(found[0].max.unwrap().value, 50.0);
    assert_eq!(found[1].min.unwrap().value, 2.0 / 0.8);
    assert!(results(&[], &[(Metric::Mean, 1)])[0].max.is_none());
}

#[test]
fn buckets_keep_order_and_precision() {
    for bits in [MIN_BITS, 7, BITS] {
        let mut last = 0;
        for micros in (0..40).flat_map(|power| [(1_u64 << power) - 1, 1 << power, (1 << power) + 7])
        {
            let number = bucket(micros, bits);
            let longest = highest(number, bits);
            assert!(
                longest >= micros && longest - micros <= micros >> bits,
                "{bits} {micros} {longest}"
            );
            assert!(micros < last || bucket(last, bits) <= number);
            last = micros;
        }
    }
}

#[test]
fn a_day_of_many_different_durations_stays_within_the_limits() {
    let window = Window {
        label: None,
        metric: Metric::Percentile(95.0),
        seconds: 30,
    };
    let mut watches = Watches::new(vec![window]);
    watches.most = 200_000;
    let mut run = Sums::default();
    for second in 0..86_400_u64 {
        for n in 0..5 {
            let elapsed = (second * 37 + n * n * 131) % 3_000_000 + 1;
            let sample = Sample {
                start: Some(second * SECOND),
                elapsed,
                ..Sample::default()
            };
            watches.add(0, &sample);
            run.first_start = 0;
            run.last_end = run.last_end.max(sample.end().unwrap());
            run.counts.samples += 1;
        }
    }
    assert!(watches.watches[0].counts <= 200_000);
    let result = watches.finish(&run).windows.remove(0);
    assert!(
        result.precision > 0.09 && result.windows > 86_000,
        "{result:?}"
    );
}

#[test]
fn seconds_in_the_future_are_limited_and_leave_no_wrong_value() {
    let window = Window {
        label: None,
        metric: Metric::Throughput,
        seconds: 10,
    };
    let mut watches = Watches::new(vec![window.clone()]);
    watches.limit();
    let now = T / 1000;
    let add = |watches: &mut Watches, second: u64| {
        let start = Some(second * SECOND);
        watches.add(
            0,
            &Sample {
                start,
                ..Sample::default()
            },
        );
    };
    (0..20).for_each(|second| add(&mut watches, now + second));
    let value = |watches: &Watches| last(&window, std::iter::once((watches, now + 20)));
    assert_eq!(value(&watches), Some(1.0));
    // Rows of a year to come are dropped with the next observation.
    (0..3000).for_each(|day| add(&mut watches, now + 86_400 * (day + 1)));
    watches.drop_after(now + 3600);
    assert_eq!(watches.watches[0].seconds.len(), 20);
    assert_eq!(value(&watches), Some(1.0));
    // More distinct seconds than are kept replace those of the window, which then has no value.
    (0..10_000).for_each(|day| add(&mut watches, now + 86_400 * (day + 1)));
    assert!(watches.watches[0].seconds.len() <= MAX_AHEAD + 10);
    watches.drop_after(now + 3600);
    assert_eq!(value(&watches), None);
    let later = |end| last(&window, std::iter::once((&watches, end)));
    assert_eq!(later(now + 3605), None);
    assert_eq!(later(now + 3611), Some(0.0));
}
