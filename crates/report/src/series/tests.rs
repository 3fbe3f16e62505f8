#![allow(clippy::unwrap_used, clippy::float_cmp)]

use super::*;

fn add(timeline: &mut Timeline, second: u64, worker: usize, active: u32) {
    let sample = Sample {
        start: Some(second * SECOND),
        elapsed: 1000,
        active: Some(active),
        ..Sample::default()
    };
    timeline.add(&sample, worker);
}

#[test]
fn a_day_in_any_order_has_a_bounded_number_of_points_and_loses_none() {
    let mut timeline = Timeline::default();
    for n in 0..86_400_u64 {
        add(&mut timeline, 1_760_000_000 + (n * 7919) % 86_400, 0, 1);
    }
    let series = timeline.finish(1);
    assert!(
        (300..=600).contains(&series.points.len()),
        "{}",
        series.points.len()
    );
    assert_eq!(series.interval, 256.0);
    assert_eq!(
        series.points.iter().map(|point| point.samples).sum::<u64>(),
        86_400
    );
    assert!(
        series
            .points
            .windows(2)
            .all(|pair| pair[1].at - pair[0].at == 256_000)
    );
    assert_eq!(series.points[0].at % 256_000, 0);
}

#[test]
fn active_users_are_added_over_workers_and_kept_between_samples() {
    let mut timeline = Timeline::default();
    for (second, worker, active) in [(10, 0, 5), (10, 1, 7), (11, 1, 8), (12, 0, 6), (13, 1, 1)] {
        add(&mut timeline, second, worker, active);
    }
    let active: Vec<Option<f64>> = timeline
        .finish(2)
        .points
        .iter()
        .map(|point| point.active)
        .collect();
    assert_eq!(active, [Some(12.0), Some(13.0), Some(14.0), Some(1.0)]);
}

#[test]
fn an_invalid_time_costs_no_memory() {
    let mut timeline = Timeline::default();
    add(&mut timeline, 1_760_000_000, 0, 1);
    add(&mut timeline, 0, 0, 1);
    add(&mut timeline, 253_000_000_000, 0, 1);
    let series = timeline.finish(1);
    assert!(series.points.len() <= 600);
    assert_eq!(
        series.points.iter().map(|point| point.samples).sum::<u64>(),
        3
    );
}
