//! A sample, and sums of samples.

use crate::histogram::{Distribution, Times, to_f64};
use atq_api_spec::report::Figures;

/// A decoded sample. Texts are raw bytes of the file; they are decoded only as names.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Start in microseconds since 1970; `None`: the file has no timestamps.
    pub start: Option<u64>,
    /// Duration in microseconds; for an aggregated row, the sum of the durations.
    pub elapsed: u64,
    /// Number of samples in the row.
    pub samples: u64,
    /// True if each of the samples has the duration `elapsed`.
    pub is_repeated: bool,
    /// Number of failed samples; `None`: unknown.
    pub errors: Option<u64>,
    /// The label.
    pub label: &'a [u8],
    /// An aggregate of other samples (JMeter's transaction controller): a separate label that does not count in the total.
    pub transaction: bool,
    /// Response code.
    pub code: &'a [u8],
    /// Error message of a failed sample.
    pub message: &'a [u8],
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// True if the file has no byte counts.
    pub no_bytes: bool,
    /// Active threads or users of the worker.
    pub active: Option<u32>,
    /// The worker; empty: unknown.
    pub worker: &'a [u8],
    /// The thread; empty: unknown.
    pub thread: &'a [u8],
    /// True if the file has end timestamps, from which the start was computed.
    pub is_dated_by_end: bool,
}

impl Default for Sample<'_> {
    fn default() -> Self {
        Self {
            start: None,
            elapsed: 0,
            samples: 1,
            is_repeated: false,
            errors: Some(0),
            label: b"",
            transaction: false,
            code: b"",
            message: b"",
            received: 0,
            sent: 0,
            no_bytes: false,
            active: None,
            worker: b"",
            thread: b"",
            is_dated_by_end: false,
        }
    }
}

impl Sample<'_> {
    /// End in microseconds since 1970. An aggregated row does not contain the end of its last sample; its end is
    /// estimated from the mean duration.
    pub fn end(&self) -> Option<u64> {
        let elapsed = match self.samples {
            samples if samples > 1 && self.is_summed() => self.elapsed / samples,
            _ => self.elapsed,
        };
        Some(self.start?.saturating_add(elapsed))
    }

    /// The timestamp as given in the file.
    pub fn timestamp(&self) -> Option<u64> {
        match self.is_dated_by_end {
            true => self.end(),
            false => self.start,
        }
    }

    /// The number of samples known to have failed.
    pub fn known_errors(&self) -> u64 {
        self.errors.unwrap_or_default()
    }

    /// True if the row aggregates several samples with unknown individual durations.
    pub fn is_summed(&self) -> bool {
        self.samples != 1 && !self.is_repeated
    }

    /// The number of samples that have the duration `elapsed`; zero for an aggregated row.
    pub fn durations(&self) -> u64 {
        match self.is_summed() {
            true => 0,
            false => self.samples,
        }
    }

    /// The sum of the durations in microseconds.
    fn elapsed_sum(&self) -> u64 {
        match self.is_repeated {
            true => self.elapsed.saturating_mul(self.samples),
            false => self.elapsed,
        }
    }
}

/// Unknown properties of a set of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Some timestamps.
    pub dates: bool,
    /// The outcome of some samples.
    pub errors: bool,
    /// Individual durations.
    pub times: bool,
    /// Byte counts of some samples.
    pub bytes: bool,
}

impl Unknown {
    /// Records properties missing in a sample.
    pub fn add(&mut self, sample: &Sample<'_>) {
        self.dates |= sample.start.is_none();
        self.errors |= sample.errors.is_none();
        self.times |= sample.is_summed();
        self.bytes |= sample.no_bytes;
    }

    /// Records properties missing in another set.
    pub fn merge(&mut self, other: Self) {
        self.dates |= other.dates;
        self.errors |= other.errors;
        self.times |= other.times;
        self.bytes |= other.bytes;
    }

    /// The names of the figures that are unknown as a consequence.
    fn figures(self) -> impl Iterator<Item = &'static str> {
        let errors = ["errors", "errorPercent"].into_iter();
        let times = ["min", "p50", "p90", "p95", "p99", "max"].into_iter();
        let errors = errors.filter(move |_| self.errors);
        let times = times.filter(move |_| self.times);
        // An aggregated row does not contain the end of its last sample.
        let throughput = (self.dates || self.times).then_some("throughput");
        let bytes = ["receivedBytes", "sentBytes"].into_iter();
        let bytes = bytes.filter(move |_| self.bytes);
        errors.chain(throughput).chain(times).chain(bytes)
    }
}

/// Numbers and times of a set of samples, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub samples: u64,
    pub errors: u64,
    pub elapsed: u64,
    /// `None` without individual durations.
    pub shortest: Option<u64>,
    pub longest: u64,
}

impl Counts {
    /// Adds a sample.
    pub fn add(&mut self, sample: &Sample<'_>) {
        let has_duration = sample.durations() > 0;
        self.merge(&Self {
            samples: sample.samples,
            errors: sample.known_errors(),
            elapsed: sample.elapsed_sum(),
            shortest: has_duration.then_some(sample.elapsed),
            longest: if has_duration { sample.elapsed } else { 0 },
        });
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        self.samples += other.samples;
        self.errors += other.errors;
        self.elapsed = self.elapsed.saturating_add(other.elapsed);
        self.shortest = self.shortest.into_iter().chain(other.shortest).min();
        self.longest = self.longest.max(other.longest);
    }
}

/// Exact sums and the distribution of durations of a set of samples.
#[derive(Debug, Clone)]
pub struct Sums {
    pub counts: Counts,
    /// Times are in microseconds.
    pub first_start: u64,
    pub last_end: u64,
    pub received: u64,
    pub sent: u64,
    pub unknown: Unknown,
    pub times: Times,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            first_start: u64::MAX,
            last_end: 0,
            received: 0,
            sent: 0,
            unknown: Unknown::default(),
            times: Times::default(),
        }
    }
}

impl Sums {
    /// Adds a sample.
    pub fn add(&mut self, sample: &Sample<'_>) {
        self.counts.add(sample);
        if let (Some(start), Some(end)) = (sample.start, sample.end()) {
            self.first_start = self.first_start.min(start);
            self.last_end = self.last_end.max(end);
        }
        self.received = self.received.saturating_add(sample.received);
        self.sent = self.sent.saturating_add(sample.sent);
        self.unknown.add(sample);
        self.times.record(sample.elapsed, sample.durations());
    }

    /// Adds sums without the distribution.
    fn add_sums(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.first_start = self.first_start.min(other.first_start);
        self.last_end = self.last_end.max(other.last_end);
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
        self.unknown.merge(other.unknown);
    }

    /// Adds sums and the distribution.
    pub fn merge(&mut self, other: &Self) {
        self.add_sums(other);
        self.times.merge(&other.times);
    }

    /// True if the samples have timestamps.
    pub fn is_dated(&self) -> bool {
        self.first_start <= self.last_end
    }

    /// Seconds from the first start to the last end; zero without timestamps.
    pub fn seconds(&self) -> f64 {
        to_f64(self.last_end.saturating_sub(self.first_start)) / 1e6
    }
}

/// Merges several sets and their distributions.
pub fn together(sets: &[&Sums]) -> (Sums, Distribution) {
    let mut all = Sums::default();
    sets.iter().for_each(|set| all.add_sums(set));
    let times = sets.iter().map(|set| &set.times);
    let (shortest, longest) = (all.counts.shortest.unwrap_or_default(), all.counts.longest);
    (all, Distribution::of(times, shortest, longest))
}

/// True if the tool reports this figure; `wire` is its name in JSON.
pub fn is_known(figures: &Figures, wire: &str) -> bool {
    !figures.missing.iter().any(|name| name == wire)
}

/// Computes the reported figures.
pub fn figures(sums: &Sums, times: &Distribution) -> Figures {
    let counts = &sums.counts;
    if counts.samples == 0 {
        return Figures::default();
    }
    let (samples, seconds) = (to_f64(counts.samples), sums.seconds());
    let errors = if sums.unknown.errors {
        0
    } else {
        counts.errors
    };
    let has_rate = seconds > 0.0 && !sums.unknown.dates && !sums.unknown.times;
    let figures = Figures {
        samples: counts.samples,
        errors,
        error_percent: to_f64(errors) / samples * 100.0,
        throughput: if has_rate { samples / seconds } else { 0.0 },
        mean: to_f64(counts.elapsed) / samples / 1000.0,
        received_bytes: sums.received,
        sent_bytes: sums.sent,
        missing: sums.unknown.figures().map(str::to_owned).collect(),
        ..Figures::default()
    };
    if sums.unknown.times {
        return figures;
    }
    Figures {
        min: to_f64(counts.shortest.unwrap_or_default()) / 1000.0,
        p50: times.percentile(50.0),
        p90: times.percentile(90.0),
        p95: times.percentile(95.0),
        p99: times.percentile(99.0),
        max: to_f64(counts.longest) / 1000.0,
        ..figures
    }
}
