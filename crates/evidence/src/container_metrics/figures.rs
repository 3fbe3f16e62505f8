//! Figures of containers for the report.

use super::point::Point;
use super::series::{Container, ContainerSeries, Key};
use atq_engine::Role;
use atq_report::{ContainerFigures, ContainerPoint};
use atq_task::timestamp::Timestamp;
use std::collections::BTreeMap;

/// Number of points of all containers.
const MAX_POINTS: u64 = 12_000;
/// Bounds of the number of points of each container.
const POINTS_EACH: (u64, u64) = (8, 300);

/// The figures of all containers. CPU usage and memory of workers and masters are those since `started`.
pub fn of(series: &ContainerSeries, started: Option<Timestamp>) -> Vec<ContainerFigures> {
    let containers: Vec<_> = series
        .containers()
        .iter()
        .map(|(key, container)| {
            let points = during_test(series, key, container, started);
            (key, container, points)
        })
        .collect();
    let numbers = containers
        .iter()
        .flat_map(|(_, _, points)| points.iter().map(|(number, _)| *number));
    let span = span(numbers);
    let (least, most) = POINTS_EACH;
    let most = (MAX_POINTS / (containers.len() as u64).max(1)).clamp(least, most);
    // Intervals of the report per point.
    let merged = span.div_ceil(most).max(1);
    let interval = series.interval() * merged;
    let figures = containers.into_iter().map(|(key, container, points)| {
        let total = merge_all(container.points.values());
        let during = merge_all(points.iter().map(|(_, point)| point));
        ContainerFigures {
            name: key.0.to_string(),
            id: key.1.clone(),
            node: container.node.clone(),
            cpu_mean: during.cpu.map(|cpu| rounded(cpu.mean)),
            cpu_max: during.cpu.map(|cpu| rounded(cpu.max)),
            cpu_limit: total.cpu.map(|cpu| rounded(cpu.limit)),
            memory_max: during.usage.memory,
            memory_limit: total.usage.memory_limit,
            received_bytes: total.usage.received,
            sent_bytes: total.usage.sent,
            read_bytes: total.usage.read,
            written_bytes: total.usage.written,
            series: over_time(&points, merged, interval),
        }
    });
    figures.collect()
}

/// The points of a worker or master from the start of the test on; all points of a command.
fn during_test(
    series: &ContainerSeries,
    (source, _): &Key,
    container: &Container,
    started: Option<Timestamp>,
) -> Vec<(u64, Point)> {
    let first = match source.role {
        Role::Worker | Role::Master => started.map_or(0, |started| started.0 / series.interval()),
        _ => 0,
    };
    let points = container.points.range(first..);
    points.map(|(number, point)| (*number, *point)).collect()
}

/// Number of intervals from the first to the last.
fn span(numbers: impl Iterator<Item = u64>) -> u64 {
    let bounds = numbers.fold(None, |bounds: Option<(u64, u64)>, number| {
        let (first, last) = bounds.unwrap_or((number, number));
        Some((first.min(number), last.max(number)))
    });
    bounds.map_or(0, |(first, last)| last - first + 1)
}

fn merge_all<'a>(points: impl Iterator<Item = &'a Point>) -> Point {
    let mut merged = Point::default();
    points.for_each(|point| merged.merge(point));
    merged
}

/// Points with `merged` intervals each, of `interval` milliseconds.
fn over_time(points: &[(u64, Point)], merged: u64, interval: u64) -> atq_report::ContainerSeries {
    let mut joined: BTreeMap<u64, Point> = BTreeMap::new();
    for (number, point) in points {
        joined.entry(number / merged).or_default().merge(point);
    }
    let points = joined.into_iter().map(|(number, point)| ContainerPoint {
        at: number * interval,
        cpu: point.cpu.map(|cpu| rounded(cpu.mean)),
        memory: point.usage.memory,
    });
    atq_report::ContainerSeries {
        interval: interval as f64 / 1000.0,
        points: points.collect(),
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}
