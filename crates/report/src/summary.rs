//! Figures aggregated by a tool (Locust, k6). Without the samples they can be adopted,
//! and several can be bounded, but not merged exactly.

use crate::histogram::{at_percentile, to_f64, to_u64};
use crate::labels::OTHER;
use crate::sample::{Sample, Sums, is_known};
use crate::windows::{Watches, Window, WindowResults};
use atq_api_spec::report::{Figures, NamedFigures, PercentilePoint, Series, SeriesPoint};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Maximum number of points over time.
const MAX_POINTS: usize = 600;
/// Labels above this number are counted as one.
const MAX_LABELS: usize = 2000;
/// Maximum length of a label; longer ones are truncated.
const MAX_LABEL_BYTES: usize = 1000;

/// The summary in one file.
#[derive(Debug, Default)]
pub struct Summary {
    /// The form of the file. A tool may write one run in several forms.
    pub form: &'static str,
    /// The worker that wrote the file.
    pub worker: String,
    pub total: Figures,
    pub labels: Vec<NamedFigures>,
    pub distribution: Vec<PercentilePoint>,
    /// Duration in seconds, if known.
    pub duration: Option<f64>,
}

impl Summary {
    /// Adds the figures of a label.
    pub fn add_label(&mut self, name: &str, figures: Figures) {
        if let Some(others) = self.labels.get_mut(MAX_LABELS) {
            others.figures = merge([&others.figures, &figures]);
            return;
        }
        let name = match self.labels.len() {
            MAX_LABELS => OTHER.to_owned(),
            _ => name.chars().take(MAX_LABEL_BYTES).collect(),
        };
        self.labels.push(NamedFigures { name, figures });
    }

    /// True if the file can only be another form or a copy of the other one, from the same container. One
    /// form of a run may have been written slightly earlier than the other.
    pub fn is_same_run_as(&self, other: &Self) -> bool {
        let (one, two) = (self.total.samples, other.total.samples);
        match self.form == other.form {
            // The names of these files distinguish consecutive runs.
            true => self.form != LOCUST_CSV && self.has_figures_of(other),
            false => {
                one.abs_diff(two) <= one.max(two) / 20
                    || self.is_part_of(other)
                    || other.is_part_of(self)
            }
        }
    }

    /// True if all requests of this form can be among those of the other form of the same tool.
    fn is_part_of(&self, other: &Self) -> bool {
        let tool = |form: &'static str| form.split('-').next();
        let labels = other.labels.iter();
        let labels: HashMap<&str, &Figures> = labels
            .map(|label| (label.name.as_str(), &label.figures))
            .collect();
        let in_other = |label: &NamedFigures| {
            let found = labels.get(label.name.as_str());
            found.is_some_and(|other| is_part_of(&label.figures, other))
        };
        tool(self.form) == tool(other.form)
            && !self.labels.is_empty()
            && self.labels.iter().all(in_other)
    }

    /// Of two forms of a run the one with the lower rank counts: the more detailed one, or else the one with
    /// more samples.
    pub fn rank(&self) -> (u8, Reverse<u64>) {
        let detail_rank = match self.form {
            JMETER_AGGREGATE => 1,
            JMETER_SUMMARY => 2,
            _ => 0,
        };
        (detail_rank, Reverse(self.total.samples))
    }

    /// True if counts and times are equal.
    pub fn has_figures_of(&self, other: &Self) -> bool {
        let close = |one: f64, other: f64| (one - other).abs() <= 1e-6 * one.abs().max(other.abs());
        let (one, two) = (&self.total, &other.total);
        one.samples == two.samples
            && one.errors == two.errors
            && close(one.mean, two.mean)
            && close(one.max, two.max)
    }
}

/// The form of Locust's `_stats.csv`.
pub const LOCUST_CSV: &str = "locust-csv";
/// The form of Locust's JSON.
pub const LOCUST_JSON: &str = "locust-json";
/// The form of the statistics of JMeter's dashboard.
pub const JMETER_DASHBOARD: &str = "jmeter-dashboard";
/// The form of JMeter's Aggregate Report.
pub const JMETER_AGGREGATE: &str = "jmeter-aggregate";
/// The form of JMeter's Summary Report.
pub const JMETER_SUMMARY: &str = "jmeter-summary";

/// True if the samples of one can be among those of the other. Some forms round to whole milliseconds.
fn is_part_of(one: &Figures, other: &Figures) -> bool {
    let known = |name: &str| is_known(one, name) && is_known(other, name);
    one.samples <= other.samples
        && (one.errors <= other.errors || !known("errors"))
        && (one.max <= other.max + 1.0 || !known("max"))
        && (one.min >= other.min - 1.0 || !known("min"))
        && (one.samples < other.samples || one.max >= other.max - 1.0 || !known("max"))
}

/// The summaries of a container that are not counted, each with the one that is counted instead.
pub fn repeated(summaries: Vec<Option<&Summary>>) -> BTreeMap<usize, usize> {
    let order = summaries.into_iter().enumerate();
    let order = order.filter_map(|(at, summary)| Some((at, summary?)));
    let mut order: Vec<(usize, &Summary)> = order.collect();
    order.sort_by_key(|(at, summary)| (summary.rank(), *at));
    let mut counted: Vec<(usize, &Summary, Vec<&str>)> = Vec::new();
    let mut repeated = BTreeMap::new();
    for (at, summary) in order {
        let run = counted.iter_mut().find(|(_, other, forms)| {
            // A run has one file of each form; a second one belongs to another run.
            let is_free = summary.form == other.form || !forms.contains(&summary.form);
            is_free && summary.is_same_run_as(other)
        });
        match run {
            Some((of, _, forms)) => {
                forms.push(summary.form);
                repeated.insert(at, *of);
            }
            None => counted.push((at, summary, vec![summary.form])),
        }
    }
    repeated
}

/// Figures by the worker that wrote them.
pub fn workers(summaries: &[Summary]) -> Vec<NamedFigures> {
    let summaries = summaries.iter();
    let named = summaries.filter(|summary| !summary.worker.is_empty());
    let workers = named.map(|summary| NamedFigures {
        name: summary.worker.clone(),
        figures: summary.total.clone(),
    });
    workers.collect()
}

/// Merges the figures of several summaries. Counts are added and means weighted; of percentiles the highest is
/// reported, as an upper bound.
pub fn merge<'a>(all: impl IntoIterator<Item = &'a Figures>) -> Figures {
    let mut merged = Figures::default();
    let (mut weighed, mut first) = (0.0, true);
    for one in all {
        weighed += one.mean * to_f64(one.samples);
        merged.samples = merged.samples.saturating_add(one.samples);
        merged.errors = merged.errors.saturating_add(one.errors);
        merged.throughput += one.throughput;
        merged.min = match first {
            true => one.min,
            false => merged.min.min(one.min),
        };
        merged.p50 = merged.p50.max(one.p50);
        merged.p90 = merged.p90.max(one.p90);
        merged.p95 = merged.p95.max(one.p95);
        merged.p99 = merged.p99.max(one.p99);
        merged.max = merged.max.max(one.max);
        merged.received_bytes = merged.received_bytes.saturating_add(one.received_bytes);
        merged.sent_bytes = merged.sent_bytes.saturating_add(one.sent_bytes);
        merged.missing.extend(one.missing.iter().cloned());
        first = false;
    }
    let samples = to_f64(merged.samples.max(1));
    merged.mean = weighed / samples;
    merged.error_percent = to_f64(merged.errors) / samples * 100.0;
    merged.missing.sort();
    merged.missing.dedup();
    merged
}

/// Merges the labels of several summaries by name.
pub fn merge_labels(all: &[Summary]) -> Vec<NamedFigures> {
    let mut by_name: BTreeMap<&str, Vec<&Figures>> = BTreeMap::new();
    for label in all.iter().flat_map(|summary| &summary.labels) {
        by_name.entry(&label.name).or_default().push(&label.figures);
    }
    let merged = by_name.into_iter().map(|(name, figures)| NamedFigures {
        name: name.to_owned(),
        figures: merge(figures),
    });
    merged.collect()
}

/// Merges distributions: the highest value of each percentile that all of them have.
pub fn merge_distributions(all: &[Summary]) -> Vec<PercentilePoint> {
    let Some((first, others)) = all.split_first() else {
        return Vec::new();
    };
    let points = first.distribution.iter().filter_map(|point| {
        let (percentile, mut millis) = (point.percentile, point.millis);
        for other in others {
            millis = millis.max(at_percentile(&other.distribution, percentile)?);
        }
        Some(PercentilePoint { percentile, millis })
    });
    points.collect()
}

/// Figures over time from a tool, with a bounded number of points.
#[derive(Debug)]
pub struct History {
    /// Length of a point in seconds.
    interval: u64,
    /// Points by the number of their interval since 1970.
    points: BTreeMap<u64, SeriesPoint>,
    first: u64,
    last: u64,
    /// The data for windows of all samples.
    pub watches: Watches,
    /// Number of requests with known seconds.
    requests: u64,
    /// The first second after that of the first requests.
    begun: Option<u64>,
    /// The latest seconds with their figures, and the second before which they are complete.
    pub latest: BTreeMap<u64, SeriesPoint>,
    pub complete_until: u64,
    /// The tool's figures from the start up to the latest row.
    pub total: Option<Figures>,
}

/// Maximum number of seconds of [`History::latest`].
const MAX_LATEST: usize = 60;

impl Default for History {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl History {
    /// An empty history that watches these windows, as far as they concern all samples.
    pub fn new(windows: &[Window]) -> Self {
        let windows = windows.iter().filter(|window| window.label.is_none());
        Self {
            interval: 1,
            points: BTreeMap::new(),
            first: u64::MAX,
            last: 0,
            watches: Watches::new(windows.cloned().collect()),
            requests: 0,
            begun: None,
            latest: BTreeMap::new(),
            complete_until: 0,
            total: None,
        }
    }

    /// Adds the requests of a second, also to the windows. Its time and users may be known already.
    pub fn requests(&mut self, second: u64, point: SeriesPoint) {
        if let Some(watch) = self.watches.of(None) {
            self.watches.add(
                watch,
                &Sample {
                    start: Some(second.saturating_mul(1_000_000)),
                    elapsed: to_u64(point.mean * to_f64(point.samples) * 1000.0),
                    samples: point.samples,
                    errors: Some(point.errors),
                    ..Sample::default()
                },
            );
        }
        self.requests = self.requests.saturating_add(point.samples);
        self.keep_latest(second, &point);
        self.put(second, point);
    }

    /// The results of the windows: throughput, errors and mean. A tool's percentiles of intervals cannot be merged.
    /// `None` if the history does not cover most of these `samples`.
    pub fn windows(&self, windows: &[Window], samples: u64) -> Option<WindowResults> {
        let (first, last) = self.span()?;
        if samples == 0 || self.requests < samples / 10 * 9 {
            return None;
        }
        let mut run = Sums {
            first_start: (first + 1).saturating_mul(1_000_000),
            last_end: (last + 1).saturating_mul(1_000_000),
            ..Sums::default()
        };
        run.counts.samples = samples;
        let of_total = self.watches.finish(&run);
        Some(WindowResults::none(windows).with(of_total))
    }

    /// Adds the figures up to a second since 1970.
    pub fn add(&mut self, second: u64, point: SeriesPoint) {
        self.spans(second, second);
        self.keep_latest(second, &point);
        self.put(second, point);
    }

    fn keep_latest(&mut self, second: u64, point: &SeriesPoint) {
        let latest = self.latest.entry(second).or_default();
        join(latest, point, Combine::Beside);
        while self.latest.len() > MAX_LATEST {
            self.latest.pop_first();
        }
    }

    /// Extends the span to the first and last second of a part of the run, which are unknown from points of longer intervals.
    pub fn spans(&mut self, first: u64, last: u64) {
        self.first = self.first.min(first);
        self.last = self.last.max(last);
    }

    /// Sets a minimum length of the interval in seconds.
    pub fn every(&mut self, seconds: u64) {
        if seconds <= self.interval {
            return;
        }
        let before = std::mem::replace(&mut self.interval, seconds);
        for (number, point) in std::mem::take(&mut self.points) {
            let number = number.saturating_mul(before) / seconds;
            self.join(number, point, Combine::After);
        }
    }

    /// True if there are points.
    pub fn has_points(&self) -> bool {
        !self.points.is_empty()
    }

    /// Adds the figures of the interval that contains a second since 1970.
    pub fn put(&mut self, second: u64, point: SeriesPoint) {
        self.join(second / self.interval, point, Combine::Beside);
        while self.points.len() > MAX_POINTS {
            self.interval *= 2;
            for (number, point) in std::mem::take(&mut self.points) {
                self.join(number / 2, point, Combine::After);
            }
        }
    }

    /// Adds another history.
    pub fn merge(&mut self, other: Self) {
        if other.has_points() {
            self.every(other.interval);
        }
        for (number, point) in other.points {
            self.put(number.saturating_mul(other.interval), point);
        }
        self.spans(other.first, other.last);
        self.watches.merge(&other.watches);
        self.requests = self.requests.saturating_add(other.requests);
        self.begun = self.begun.into_iter().chain(other.begun).min();
    }

    /// The points of several histories together.
    pub fn series_of(histories: &[&Self]) -> Series {
        let mut all = Self::default();
        for history in histories {
            all.every(history.interval);
            for (number, point) in &history.points {
                all.put(number.saturating_mul(history.interval), point.clone());
            }
        }
        all.series()
    }

    /// The first and the last second; `None` without points.
    pub fn span(&self) -> Option<(u64, u64)> {
        (self.first <= self.last).then_some((self.first, self.last))
    }

    /// Records that there were requests at a second.
    pub fn begin(&mut self, second: u64) {
        self.begun.get_or_insert(second.saturating_add(1));
    }

    /// The first second after that of the first requests, which may be a part of a second only.
    pub fn begun(&self) -> Option<u64> {
        self.begun
    }

    /// The points and their interval.
    pub fn finish(self) -> Series {
        self.series()
    }

    /// The points so far and their interval.
    pub fn series(&self) -> Series {
        let interval = self.interval;
        let points = self.points.iter().map(|(number, point)| SeriesPoint {
            at: number * interval * 1000,
            ..point.clone()
        });
        Series {
            interval: to_f64(interval),
            points: points.collect(),
            missing: Vec::new(),
        }
    }

    fn join(&mut self, number: u64, point: SeriesPoint, how: Combine) {
        let Some(into) = self.points.get_mut(&number) else {
            self.points.insert(number, point);
            return;
        };
        join(into, &point, how);
    }
}

/// Adds a point to another one.
fn join(into: &mut SeriesPoint, point: &SeriesPoint, how: Combine) {
    let samples = into.samples.saturating_add(point.samples);
    if samples > 0 {
        let weighed = into.mean * to_f64(into.samples) + point.mean * to_f64(point.samples);
        into.mean = weighed / to_f64(samples);
    }
    into.samples = samples;
    into.errors = into.errors.saturating_add(point.errors);
    into.p50 = into.p50.max(point.p50);
    into.p90 = into.p90.max(point.p90);
    into.p95 = into.p95.max(point.p95);
    into.p99 = into.p99.max(point.p99);
    into.max = into.max.max(point.max);
    into.received_bytes = into.received_bytes.saturating_add(point.received_bytes);
    into.active = match (into.active, point.active) {
        (Some(one), Some(two)) if how == Combine::Beside => Some(one + two),
        (one, two) => two.or(one),
    };
}

/// The way in which two points of one interval are combined.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Combine {
    /// Concurrent points of two masters: their users are added.
    Beside,
    /// Consecutive points.
    After,
}
