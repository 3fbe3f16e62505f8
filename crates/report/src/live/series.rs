//! The series since the start of the run. Only points that have changed are computed again.

use super::select::Selection;
use crate::histogram::to_f64;
use crate::series::{self, Point, Timeline};
use atq_api_spec::report::{Series, SeriesPoint};
use std::collections::BTreeMap;

/// Maximum number of points.
const MAX_POINTS: u64 = 600;
const SECOND: u64 = 1_000_000;

/// The points of the last snapshot.
#[derive(Debug, Default)]
pub struct Points {
    /// The files of which the points consist.
    files: Vec<(String, u64)>,
    /// Length of a point in microseconds.
    interval: u64,
    /// Points by their start in microseconds since 1970.
    points: BTreeMap<u64, SeriesPoint>,
    /// The time from which they may have changed since then.
    changed: Option<u64>,
}

impl Points {
    /// Records that points may have changed from a time on, in microseconds since 1970.
    pub fn changed(&mut self, from: u64) {
        self.changed = Some(self.changed.map_or(from, |changed| changed.min(from)));
    }

    /// All points, of which those that have changed are computed again.
    pub fn update(&mut self, selection: &Selection<'_>) -> Series {
        let changed = self.changed.take().unwrap_or(u64::MAX);
        let transactions = selection.has_transactions_only();
        let timelines = selection.files.iter().filter_map(|(_, file)| {
            let samples = &file.samples()?.samples;
            let names = move |worker| samples.worker_name(worker);
            Some((&samples.counted(transactions).timeline, names))
        });
        let timelines: Vec<(&Timeline, _)> = timelines.collect();
        let interval = interval(timelines.iter().map(|(timeline, _)| *timeline));
        let files = selection.files.iter();
        let files: Vec<(String, u64)> = files
            .map(|(path, file)| ((*path).to_owned(), file.restarts))
            .collect();
        let is_same = self.files == files && self.interval == interval;
        let from = if is_same { changed / interval } else { 0 } * interval;
        (self.files, self.interval) = (files, interval);
        self.points.split_off(&from);
        let mut changed: BTreeMap<u64, Vec<&Point>> = BTreeMap::new();
        for (timeline, _) in &timelines {
            let points = timeline.points().rev();
            for (at, point) in points.take_while(|(at, _)| *at >= from) {
                changed
                    .entry(at / interval * interval)
                    .or_default()
                    .push(point);
            }
        }
        let changed = changed.into_iter();
        let changed = changed.map(|(at, points)| (at, series::figures(&points)));
        self.points.extend(changed);
        self.series(&active(&timelines, interval))
    }

    /// All points; those without samples have zeros.
    fn series(&self, active: &BTreeMap<u64, f64>) -> Series {
        let span = self.points.keys().next().zip(self.points.keys().last());
        let numbers = span.map(|(first, last)| first / self.interval..=last / self.interval);
        let points = numbers.into_iter().flatten().map(|number| {
            let at = number * self.interval;
            SeriesPoint {
                at: at / 1000,
                active: active.get(&at).copied(),
                ..self.points.get(&at).cloned().unwrap_or_default()
            }
        });
        Series {
            interval: to_f64(self.interval) / 1e6,
            points: points.collect(),
            missing: Vec::new(),
        }
    }
}

/// The shortest length of points, in microseconds, for which there are not too many.
fn interval<'a>(timelines: impl Iterator<Item = &'a Timeline> + Clone) -> u64 {
    let longest = timelines.clone().map(Timeline::interval).max();
    let mut interval = longest.unwrap_or(SECOND);
    let ends = timelines.filter_map(|timeline| {
        let mut points = timeline.points().map(|(at, _)| at);
        let first = points.next()?;
        Some((first, points.next_back().unwrap_or(first)))
    });
    let span = ends.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    if let Some((first, last)) = span {
        while last / interval - first / interval >= MAX_POINTS {
            interval *= 2;
        }
    }
    interval
}

/// Active users of all workers at each point. A worker keeps its number until its last one.
fn active(
    timelines: &[(&Timeline, impl Fn(usize) -> String)],
    interval: u64,
) -> BTreeMap<u64, f64> {
    let mut workers: BTreeMap<String, BTreeMap<u64, u32>> = BTreeMap::new();
    for (timeline, name) in timelines {
        let mut numbers: Vec<BTreeMap<u64, u32>> = Vec::new();
        for (at, point) in timeline.points() {
            if numbers.len() < point.active.len() {
                numbers.resize(point.active.len(), BTreeMap::new());
            }
            for (worker, users) in numbers.iter_mut().zip(&point.active) {
                if let Some(users) = users {
                    worker.insert(at / interval * interval, *users);
                }
            }
        }
        for (number, users) in numbers.into_iter().enumerate() {
            workers.entry(name(number)).or_default().extend(users);
        }
    }
    let mut sums = BTreeMap::new();
    for users in workers.into_values() {
        let Some(last) = users.keys().next_back().copied() else {
            continue;
        };
        let mut ends = users.keys().skip(1).copied().collect::<Vec<u64>>();
        ends.push(last + interval);
        for ((from, users), end) in users.iter().zip(ends) {
            for number in from / interval..end / interval {
                *sums.entry(number * interval).or_insert(0.0) += f64::from(*users);
            }
        }
    }
    sums
}
