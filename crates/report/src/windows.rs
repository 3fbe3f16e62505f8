//! Criteria with a time window ("mean < 300ms for 30s"): the minimum and maximum of a metric
//! over all windows of the given length in the run.
//!
//! The files of several workers are read one after the other, so windows are complete only at the end. Until then
//! there is one entry per second, and for percentiles a count per distinct duration in
//! that second. Above [`MAX_COUNTS`] counts, adjacent durations are merged: a run of
//! a day stays below 100 MB, and [`WindowResult::precision`] is the resulting error.

use crate::histogram::{BITS, Distribution, MIN_BITS, bucket, highest, to_f64};
use crate::sample::{Counts, Sample, Sums, Unknown};
use std::collections::BTreeMap;

/// Maximum number of counts of all watched labels together, of eight bytes each.
const MAX_COUNTS: usize = 5_000_000;
/// Number of seconds in the future that are kept during a run.
const MAX_AHEAD: usize = 3600;
/// Seconds by which the end of a window may be earlier than before.
const STEP_BACK: u64 = 30;
const SECOND: u64 = 1_000_000;

/// A metric of a window. Times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// Arithmetic mean of the response times.
    Mean,
    /// Shortest response time.
    Min,
    /// Longest response time.
    Max,
    /// A percentile of the response times, from 0 to 100.
    Percentile(f64),
    /// Failed samples in percent.
    ErrorPercent,
    /// Samples per second.
    Throughput,
}

/// A metric over every `seconds` consecutive seconds of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The label; `None`: all samples.
    pub label: Option<String>,
    /// The metric.
    pub metric: Metric,
    /// Length of the window.
    pub seconds: u32,
}

/// A value and the start of its window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extreme {
    /// Milliseconds, percent, or samples per second.
    pub value: f64,
    /// Start of the window in milliseconds since 1970.
    pub at: u64,
}

/// The result for a window length.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowResult {
    /// The request.
    pub window: Window,
    /// The minimum; `None` if no window has samples, or the files have no timestamps.
    pub min: Option<Extreme>,
    /// The maximum.
    pub max: Option<Extreme>,
    /// Number of windows with a value.
    pub windows: u64,
    /// False if the run was shorter than a window; the value is then that of the whole run.
    pub complete: bool,
    /// Maximum error of percentiles in percent; zero for other metrics.
    pub precision: f64,
}

/// The results in the order of the requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowResults {
    /// One result for each of [`Options::windows`](crate::Options::windows).
    pub windows: Vec<WindowResult>,
}

impl WindowResults {
    /// Results without values.
    pub(crate) fn none(windows: &[Window]) -> Self {
        let results = windows.iter().map(WindowResult::none);
        Self {
            windows: results.collect(),
        }
    }

    /// Removes dates, for samples with timestamps relative to the start of the test.
    pub(crate) fn remove_dates(&mut self) {
        self.windows
            .iter_mut()
            .for_each(|result| result.complete = false);
    }

    /// Replaces the results for all samples.
    pub(crate) fn with(mut self, of_total: Self) -> Self {
        let total = self.windows.iter_mut();
        let total = total.filter(|result| result.window.label.is_none());
        for (result, other) in total.zip(of_total.windows) {
            *result = other;
        }
        self
    }
}

/// The seconds of a run, for one label or for all samples.
#[derive(Debug)]
struct Watch {
    label: Option<String>,
    /// True if a percentile is requested.
    percentiles: bool,
    seconds: BTreeMap<u64, Second>,
    buckets: Buckets,
    counts: usize,
    /// Properties missing in the samples.
    unknown: Unknown,
    /// Seconds before this one may be incomplete, because there were too many.
    incomplete_until: u64,
}

/// How the durations of a set of samples are counted.
#[derive(Debug, Clone, Copy)]
pub struct Buckets {
    /// Significant binary digits of a duration.
    pub bits: u32,
    /// True if all durations are whole milliseconds.
    pub whole: bool,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            bits: BITS,
            whole: true,
        }
    }
}

impl Buckets {
    /// Records whether a duration is a whole number of milliseconds.
    pub fn add(&mut self, micros: u64) {
        self.whole &= micros.is_multiple_of(1000);
    }

    /// The representative duration of a bucket: the longest, or the longest whole millisecond if all are whole.
    fn micros(self, bucket: u16) -> u64 {
        let micros = highest(bucket, self.bits);
        match self.whole {
            true => micros / 1000 * 1000,
            false => micros,
        }
    }
}

/// The samples that ended in a second.
#[derive(Debug, Clone, Default)]
pub struct Second {
    pub counts: Counts,
    /// Number of durations by bucket, sorted.
    times: Vec<(u16, u32)>,
}

/// The data for all requested windows.
#[derive(Debug, Default)]
pub struct Watches {
    /// The requested windows.
    pub windows: Vec<Window>,
    watches: Vec<Watch>,
    /// [`MAX_COUNTS`], or fewer in tests.
    most: usize,
    /// Maximum number of seconds of a watch during a run.
    most_seconds: Option<usize>,
}

impl Watches {
    /// Prepares the data for these windows.
    pub fn new(windows: Vec<Window>) -> Self {
        let mut watches: Vec<Watch> = Vec::new();
        for window in &windows {
            let percentiles = matches!(window.metric, Metric::Percentile(_));
            match watches.iter_mut().find(|watch| watch.label == window.label) {
                Some(watch) => watch.percentiles |= percentiles,
                None => watches.push(Watch {
                    label: window.label.clone(),
                    percentiles,
                    seconds: BTreeMap::new(),
                    buckets: Buckets::default(),
                    counts: 0,
                    unknown: Unknown::default(),
                    incomplete_until: 0,
                }),
            }
        }
        Self {
            windows,
            watches,
            most: MAX_COUNTS,
            most_seconds: None,
        }
    }

    /// The number of the watch for a label, or for all samples; `None` if they are not requested.
    pub fn of(&self, label: Option<&[u8]>) -> Option<usize> {
        let is = |watch: &Watch| watch.label.as_deref().map(str::as_bytes) == label;
        self.watches.iter().position(is)
    }

    /// Adds a sample to a watch.
    pub fn add(&mut self, number: usize, sample: &Sample<'_>) {
        let most = self.most / self.watches.len().max(1);
        if let Some(watch) = self.watches.get_mut(number) {
            watch.add(sample);
            watch.fit(most);
            if let Some(most) = self.most_seconds {
                watch.drop_oldest(most);
            }
        }
    }

    /// Adds the data of other watches for the same windows.
    pub fn merge(&mut self, other: &Self) {
        let most = self.most / self.watches.len().max(1);
        for (watch, other) in self.watches.iter_mut().zip(&other.watches) {
            watch.merge(other);
            watch.fit(most);
            if let Some(most) = self.most_seconds {
                watch.drop_oldest(most);
            }
        }
    }

    /// Limits the memory to a tenth of that of a report, which is enough for the last seconds of a run.
    pub fn limit(&mut self) {
        self.most = MAX_COUNTS / 10;
        self.most_seconds = Some(MAX_AHEAD + self.longest());
    }

    fn longest(&self) -> usize {
        let seconds = self.windows.iter().map(|window| window.seconds).max();
        usize::try_from(seconds.unwrap_or_default()).unwrap_or(usize::MAX)
    }

    /// An estimate of the memory in bytes.
    pub fn memory(&self) -> usize {
        let watches = self.watches.iter();
        let seconds =
            watches.map(|watch| watch.seconds.len() * size_of::<Second>() * 2 + watch.counts * 16);
        seconds.sum()
    }

    /// Drops seconds after this one: their samples have wrong times.
    pub fn drop_after(&mut self, last: u64) {
        for watch in &mut self.watches {
            let dropped = watch.seconds.split_off(&last.saturating_add(1));
            watch.uncount(dropped.values());
            // Seconds to come are complete again, except for those that are kept.
            watch.incomplete_until = watch.incomplete_until.min(last.saturating_add(1));
        }
    }

    /// Drops seconds that no window needs that ends with the second `end` or later.
    pub fn forget(&mut self, end: u64) {
        // The end may step back, when it turns out that a clock was ahead.
        let before = end.saturating_sub(self.longest() as u64 + STEP_BACK);
        for watch in &mut self.watches {
            let kept = watch.seconds.split_off(&before);
            let dropped = std::mem::replace(&mut watch.seconds, kept);
            watch.uncount(dropped.values());
        }
    }

    fn watch_of(&self, window: &Window) -> Option<&Watch> {
        let mut watches = self.watches.iter();
        watches.find(|watch| watch.label == window.label)
    }

    /// Computes the results; `run` has the sums of the whole run.
    pub fn finish(&self, run: &Sums) -> WindowResults {
        let windows = self
            .windows
            .iter()
            .filter_map(|window| Some(self.watch_of(window)?.result(window, run)));
        WindowResults {
            windows: windows.collect(),
        }
    }
}

/// The value of a window that ends with the second `end` of each file; `None` if it has no samples, or
/// if a file lacks the data for it. Without samples, the throughput is zero.
pub fn last<'a>(
    window: &Window,
    files: impl Iterator<Item = (&'a Watches, u64)> + Clone,
) -> Option<f64> {
    let files = files.filter_map(|(watches, end)| Some((watches.watch_of(window)?, end)));
    let mut buckets = Buckets::default();
    for (watch, _) in files.clone() {
        if watch.lacks_data(window.metric) {
            return None;
        }
        buckets.bits = buckets.bits.min(watch.buckets.bits);
        buckets.whole &= watch.buckets.whole;
    }
    let mut content = Content::default();
    for (watch, end) in files {
        let first = end.saturating_sub(window.seconds.into());
        if first < watch.incomplete_until {
            return None;
        }
        for (_, second) in watch.seconds.range(first..end) {
            match watch.buckets.bits == buckets.bits {
                true => content.enter(second),
                false => {
                    let mut second = second.clone();
                    second.rebucket(watch.buckets.bits, buckets.bits);
                    content.enter(&second);
                }
            }
        }
    }
    content.value(buckets, window.metric, window.seconds.max(1).into())
}

impl Watch {
    fn add(&mut self, sample: &Sample<'_>) {
        self.unknown.add(sample);
        let Some(end) = sample.end() else { return };
        let second = self.seconds.entry(end / SECOND).or_default();
        second.counts.add(sample);
        self.buckets.add(sample.elapsed);
        if self.percentiles {
            self.counts += usize::from(second.record(sample, self.buckets.bits));
        }
    }

    /// Drops the oldest seconds, except for these.
    fn drop_oldest(&mut self, most: usize) {
        while self.seconds.len() > most {
            let Some((second, dropped)) = self.seconds.pop_first() else {
                return;
            };
            self.uncount(std::iter::once(&dropped));
            self.incomplete_until = self.incomplete_until.max(second + 1);
        }
    }

    fn uncount<'a>(&mut self, dropped: impl Iterator<Item = &'a Second>) {
        self.counts -= dropped.map(|second| second.times.len()).sum::<usize>();
    }

    /// Merges adjacent durations until there are at most `most` counts.
    fn fit(&mut self, most: usize) {
        while self.counts > most && self.buckets.bits > MIN_BITS {
            self.coarsen();
        }
    }

    fn merge(&mut self, other: &Self) {
        while self.buckets.bits > other.buckets.bits {
            self.coarsen();
        }
        for (number, second) in &other.seconds {
            let mut second = second.clone();
            second.rebucket(other.buckets.bits, self.buckets.bits);
            self.seconds.entry(*number).or_default().merge(&second);
        }
        self.counts = self.seconds.values().map(|second| second.times.len()).sum();
        self.buckets.whole &= other.buckets.whole;
        self.unknown.merge(other.unknown);
        self.incomplete_until = self.incomplete_until.max(other.incomplete_until);
    }

    /// Merges pairs of adjacent buckets.
    fn coarsen(&mut self) {
        let bits = self.buckets.bits - 1;
        self.counts = 0;
        for second in self.seconds.values_mut() {
            second.rebucket(self.buckets.bits, bits);
            self.counts += second.times.len();
        }
        self.buckets.bits = bits;
    }

    fn result(&self, window: &Window, run: &Sums) -> WindowResult {
        let mut result = WindowResult::none(window);
        if run.counts.samples == 0 || self.lacks_data(window.metric) {
            return result;
        }
        let throughput = window.metric == Metric::Throughput;
        // The first and last seconds are partial, so their throughput is too low; their response times are valid.
        let (first, end) = match throughput {
            true => (run.first_start.div_ceil(SECOND), run.last_end / SECOND),
            false => (run.first_start / SECOND, run.last_end / SECOND + 1),
        };
        let length = u64::from(window.seconds.max(1));
        if let Metric::Percentile(_) = window.metric {
            result.precision = 100.0 / f64::from(1_u32 << self.buckets.bits);
        }
        if end < first + length {
            self.whole_run(&mut result, run);
        } else {
            result.complete = true;
            self.slide(&mut result, first, end - length, length);
        }
        result
    }

    /// True if samples lack data for the metric.
    fn lacks_data(&self, metric: Metric) -> bool {
        let needs_times = matches!(metric, Metric::Percentile(_) | Metric::Min | Metric::Max);
        self.unknown.dates
            || (self.unknown.times && needs_times)
            || (self.unknown.errors && metric == Metric::ErrorPercent)
    }

    fn whole_run(&self, result: &mut WindowResult, run: &Sums) {
        let mut content = Content::default();
        self.seconds
            .values()
            .for_each(|second| content.enter(second));
        let value = content.value(self.buckets, result.window.metric, run.seconds().max(1e-3));
        result.observe(value, run.first_start / 1000);
    }

    /// Windows that start with the seconds from `first` to `last`.
    fn slide(&self, result: &mut WindowResult, first: u64, last: u64, length: u64) {
        let (metric, seconds) = (result.window.metric, to_f64(length));
        let mut content = Content::default();
        for (_, second) in self.seconds.range(first..first + length) {
            content.enter(second);
        }
        let mut at = first;
        loop {
            result.observe(content.value(self.buckets, metric, seconds), at * 1000);
            let next = match content.samples {
                // Skips a gap of any length in one step.
                0 => self
                    .seconds
                    .range(at + length..)
                    .next()
                    .map(|(next, _)| next + 1 - length),
                _ => Some(at + 1),
            };
            match next {
                Some(next) if next <= last => {
                    if let Some(second) = self.seconds.get(&at) {
                        content.leave(second);
                    }
                    at = next;
                }
                _ => return,
            }
            if let Some(second) = self.seconds.get(&(at + length - 1)) {
                content.enter(second);
            }
        }
    }
}

impl WindowResult {
    fn none(window: &Window) -> Self {
        Self {
            window: window.clone(),
            min: None,
            max: None,
            windows: 0,
            complete: false,
            precision: 0.0,
        }
    }

    fn observe(&mut self, value: Option<f64>, at: u64) {
        let Some(value) = value else { return };
        self.windows += 1;
        let extreme = Extreme { value, at };
        if self.min.is_none_or(|min| value < min.value) {
            self.min = Some(extreme);
        }
        if self.max.is_none_or(|max| value > max.value) {
            self.max = Some(extreme);
        }
    }
}

impl Second {
    /// Adds a sample with its duration.
    pub fn add(&mut self, sample: &Sample<'_>, buckets: Buckets) {
        self.counts.add(sample);
        self.record(sample, buckets.bits);
    }

    /// Counts the durations of a row; returns true if their bucket is new.
    fn record(&mut self, sample: &Sample<'_>, bits: u32) -> bool {
        match u32::try_from(sample.durations()).unwrap_or(u32::MAX) {
            0 => false,
            count => self.count(bucket(sample.elapsed, bits), count),
        }
    }

    /// An estimate of the memory in bytes.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.times.capacity() * size_of::<(u16, u32)>()
    }

    /// Adds another second with the same bucket size.
    fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        for (bucket, count) in &other.times {
            self.count(*bucket, *count);
        }
    }

    /// Converts to buckets with fewer bits and merges counts.
    fn rebucket(&mut self, from: u32, to: u32) {
        if from == to {
            return;
        }
        for (number, _) in &mut self.times {
            *number = bucket(highest(*number, from), to);
        }
        self.times.dedup_by(|later, before| {
            let same = later.0 == before.0;
            before.1 += if same { later.1 } else { 0 };
            same
        });
        self.times.shrink_to_fit();
    }

    /// Returns true if the bucket is new.
    fn count(&mut self, bucket: u16, count: u32) -> bool {
        let found = self
            .times
            .binary_search_by_key(&bucket, |(number, _)| *number);
        match found {
            Ok(at) => self.times[at].1 = self.times[at].1.saturating_add(count),
            Err(at) => self.times.insert(at, (bucket, count)),
        }
        found.is_err()
    }
}

/// The samples of a sliding window.
#[derive(Debug, Default)]
pub struct Content {
    pub samples: u64,
    pub errors: u64,
    /// Microseconds.
    pub elapsed: u64,
    /// Minimum or maximum of each second, with the number of seconds that have it.
    shortest: BTreeMap<u64, u64>,
    longest: BTreeMap<u64, u64>,
    /// Counts by bucket.
    times: BTreeMap<u16, u64>,
}

impl Content {
    /// Adds a second.
    pub fn enter(&mut self, second: &Second) {
        let counts = &second.counts;
        self.samples += counts.samples;
        self.errors += counts.errors;
        self.elapsed = self.elapsed.saturating_add(counts.elapsed);
        *self
            .shortest
            .entry(counts.shortest.unwrap_or_default())
            .or_default() += 1;
        *self.longest.entry(counts.longest).or_default() += 1;
        for (bucket, count) in &second.times {
            *self.times.entry(*bucket).or_default() += u64::from(*count);
        }
    }

    fn leave(&mut self, second: &Second) {
        let counts = &second.counts;
        self.samples -= counts.samples;
        self.errors -= counts.errors;
        self.elapsed = self.elapsed.saturating_sub(counts.elapsed);
        take(&mut self.shortest, counts.shortest.unwrap_or_default(), 1);
        take(&mut self.longest, counts.longest, 1);
        for (bucket, count) in &second.times {
            take(&mut self.times, *bucket, u64::from(*count));
        }
    }

    /// The value of a metric; `None` without samples, except for the throughput.
    fn value(&self, buckets: Buckets, metric: Metric, seconds: f64) -> Option<f64> {
        if metric == Metric::Throughput {
            return Some(to_f64(self.samples) / seconds);
        }
        let (shortest, _) = self.shortest.first_key_value()?;
        let (longest, _) = self.longest.last_key_value()?;
        let samples = to_f64(self.samples);
        Some(match metric {
            Metric::Mean => to_f64(self.elapsed) / samples / 1000.0,
            Metric::Min => to_f64(*shortest) / 1000.0,
            Metric::Max => to_f64(*longest) / 1000.0,
            Metric::ErrorPercent => to_f64(self.errors) / samples * 100.0,
            Metric::Throughput => samples / seconds,
            Metric::Percentile(percentile) => self.times(buckets).percentile(percentile),
        })
    }

    /// The shortest and the longest duration in microseconds; zero without samples.
    pub fn span(&self) -> (u64, u64) {
        let shortest = self.shortest.first_key_value().map(|(micros, _)| *micros);
        let longest = self.longest.last_key_value().map(|(micros, _)| *micros);
        (shortest.unwrap_or_default(), longest.unwrap_or_default())
    }

    /// The distribution of the durations.
    pub fn times(&self, buckets: Buckets) -> Distribution {
        let (shortest, longest) = self.span();
        let counts = self.times.iter();
        let counts = counts.map(|(bucket, count)| (buckets.micros(*bucket), *count));
        Distribution::of_counts(counts, shortest, longest)
    }
}

fn take<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, count: u64) {
    if let Some(all) = counts.get_mut(&key) {
        *all -= count;
        if *all == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
