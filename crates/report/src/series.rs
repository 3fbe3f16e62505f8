//! Figures over time with a bounded number of points: when the run exceeds it, pairs of points are merged.

use crate::histogram::{Distribution, Times, to_f64};
use crate::sample::{Counts, Sample};
use atq_api_spec::report::{Series, SeriesPoint};
use std::collections::VecDeque;

/// Maximum number of points.
const MAX_POINTS: u64 = 600;
const SECOND: u64 = 1_000_000;

/// Points of equal length, aligned to multiples of it since 1970, so that two series can be merged.
#[derive(Debug)]
pub struct Timeline {
    /// Length of a point in microseconds.
    interval: u64,
    /// Number of the first point since 1970.
    first: u64,
    points: VecDeque<Point>,
    /// Start of the first point that has changed since [`Timeline::changed`], in microseconds since 1970.
    changed: u64,
    /// True if points need little memory, see [`Times::sparse`].
    is_sparse: bool,
}

/// The samples that ended within an interval.
#[derive(Debug, Default, Clone)]
pub struct Point {
    counts: Counts,
    received: u64,
    times: Times,
    /// Last number of active threads, by worker.
    pub active: Vec<Option<u32>>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            interval: SECOND,
            first: 0,
            points: VecDeque::new(),
            changed: u64::MAX,
            is_sparse: false,
        }
    }
}

impl Timeline {
    /// Counts a sample at its end; a sample without timestamp is not counted.
    pub fn add(&mut self, sample: &Sample<'_>, worker: usize) {
        let point = sample.end().and_then(|end| self.point(end));
        if let Some(point) = point {
            point.add(sample, worker);
        }
    }

    /// Adds another series; `workers` maps its worker numbers.
    pub fn merge(&mut self, other: &Self, workers: &[usize]) {
        while self.interval < other.interval {
            self.double();
        }
        for (number, point) in (other.first..).zip(&other.points) {
            // Empty points only fill a gap.
            if point.is_empty() {
                continue;
            }
            if let Some(into) = self.point(number * other.interval) {
                into.merge(point, workers);
            }
        }
    }

    /// Releases unused memory.
    pub fn compact(&mut self) {
        self.points
            .iter_mut()
            .for_each(|point| point.times.compact());
    }

    /// An estimate of the memory in bytes.
    pub fn memory(&self) -> usize {
        let points = self.points.iter();
        let points = points
            .map(|point| size_of::<Point>() + point.times.memory() + point.active.capacity() * 8);
        points.sum()
    }

    /// Records active users at a time, without a sample.
    pub fn active(&mut self, at: u64, worker: usize, active: u32) {
        if let Some(point) = self.point(at) {
            point.set_active(worker, active);
        }
    }

    fn point(&mut self, at: u64) -> Option<&mut Point> {
        if self.points.is_empty() {
            self.first = at / self.interval;
        }
        loop {
            let number = at / self.interval;
            let last = self.first + (self.points.len() as u64).saturating_sub(1);
            if number.max(last) - number.min(self.first) < MAX_POINTS {
                break;
            }
            self.double();
        }
        let number = at / self.interval;
        self.changed = self.changed.min(number * self.interval);
        while number < self.first {
            self.points.push_front(self.empty());
            self.first -= 1;
        }
        let index = usize::try_from(number - self.first).ok()?;
        if index >= self.points.len() {
            let empty = self.empty();
            self.points.resize(index + 1, empty);
        }
        self.points.get_mut(index)
    }

    fn empty(&self) -> Point {
        let times = match self.is_sparse {
            true => Times::sparse(),
            false => Times::default(),
        };
        Point {
            times,
            ..Point::default()
        }
    }

    /// From now on, points need less memory, and counting is slower.
    pub fn make_sparse(&mut self) {
        self.is_sparse = true;
    }

    fn double(&mut self) {
        let workers = self.points.iter().map(|point| point.active.len()).max();
        let same: Vec<usize> = (0..workers.unwrap_or_default()).collect();
        let mut halved: VecDeque<Point> = VecDeque::new();
        let first = self.first;
        for (number, point) in (first..).zip(std::mem::take(&mut self.points)) {
            match halved.back_mut() {
                Some(before) if number % 2 == 1 => before.merge(&point, &same),
                _ => halved.push_back(point),
            }
        }
        self.points = halved;
        self.first = first / 2;
        self.interval *= 2;
        self.changed = 0;
    }

    /// Start of the first point that has changed since the last call, in microseconds since 1970; `u64::MAX`: none.
    pub fn changed(&mut self) -> u64 {
        std::mem::replace(&mut self.changed, u64::MAX)
    }

    /// Releases unused memory of points that end before a time in microseconds since 1970.
    pub fn compact_before(&mut self, at: u64) {
        let old = usize::try_from((at / self.interval).saturating_sub(self.first));
        let old = self.points.iter_mut().take(old.unwrap_or(usize::MAX));
        old.for_each(|point| point.times.compact());
    }

    /// Length of a point in microseconds.
    pub fn interval(&self) -> u64 {
        self.interval
    }

    /// The points with their start in microseconds since 1970; those without samples and users are left out.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = (u64, &Point)> {
        let points = self.points.iter().enumerate();
        let points = points.filter(|(_, point)| !point.is_empty());
        points.map(|(index, point)| ((self.first + index as u64) * self.interval, point))
    }

    /// Completes the series; `workers` is the number of workers.
    pub fn finish(mut self, workers: usize) -> Series {
        let active = self.active_sums(workers);
        let points = (self.first..).zip(&self.points).zip(active);
        let points = points.map(|((number, point), active)| SeriesPoint {
            at: number * self.interval / 1000,
            active,
            ..point.figures()
        });
        Series {
            interval: to_f64(self.interval) / 1e6,
            points: points.collect(),
            missing: Vec::new(),
        }
    }

    /// Active threads of all workers at each point. A worker without a sample at a point keeps its
    /// previous value if it has later samples.
    fn active_sums(&mut self, workers: usize) -> Vec<Option<f64>> {
        let mut sums: Vec<Option<f64>> = vec![None; self.points.len()];
        for worker in 0..workers {
            let seen = |point: &Point| point.active.get(worker).copied().flatten();
            let Some(last) = self.points.iter().rposition(|point| seen(point).is_some()) else {
                continue;
            };
            let mut now = None;
            for (point, sum) in self.points.iter().zip(&mut sums).take(last + 1) {
                now = seen(point).or(now);
                if let Some(now) = now {
                    *sum = Some(sum.unwrap_or_default() + f64::from(now));
                }
            }
        }
        sums
    }
}

impl Point {
    fn add(&mut self, sample: &Sample<'_>, worker: usize) {
        self.counts.add(sample);
        self.times.record(sample.elapsed, sample.durations());
        self.received = self.received.saturating_add(sample.received);
        if let Some(active) = sample.active {
            self.set_active(worker, active);
        }
    }

    fn set_active(&mut self, worker: usize, active: u32) {
        if self.active.len() <= worker {
            self.active.resize(worker + 1, None);
        }
        if let Some(slot) = self.active.get_mut(worker) {
            *slot = Some(active);
        }
    }

    /// Adds the same or the following point; `workers` maps its worker numbers.
    fn merge(&mut self, later: &Self, workers: &[usize]) {
        self.counts.merge(&later.counts);
        self.received = self.received.saturating_add(later.received);
        self.times.merge(&later.times);
        for (worker, active) in workers.iter().zip(&later.active) {
            if let Some(active) = active {
                self.set_active(*worker, *active);
            }
        }
    }

    /// True if it only fills a gap.
    fn is_empty(&self) -> bool {
        self.counts.samples == 0 && self.active.is_empty()
    }

    fn figures(&self) -> SeriesPoint {
        figures(&[self])
    }
}

/// The figures of concurrent or consecutive points, without the number of active users and the time.
pub fn figures(points: &[&Point]) -> SeriesPoint {
    let (mut counts, mut received) = (Counts::default(), 0_u64);
    for point in points {
        counts.merge(&point.counts);
        received = received.saturating_add(point.received);
    }
    let shortest = counts.shortest.unwrap_or_default();
    let times = points.iter().map(|point| &point.times);
    let times = Distribution::of(times, shortest, counts.longest);
    SeriesPoint {
        samples: counts.samples,
        errors: counts.errors,
        mean: to_f64(counts.elapsed) / to_f64(counts.samples.max(1)) / 1000.0,
        p50: times.percentile(50.0),
        p90: times.percentile(90.0),
        p95: times.percentile(95.0),
        p99: times.percentile(99.0),
        max: to_f64(counts.longest) / 1000.0,
        received_bytes: received,
        ..SeriesPoint::default()
    }
}

#[cfg(test)]
mod tests;
