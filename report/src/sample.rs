//! One sample, and the sums of many.

use crate::histogram::{Distribution, Times, to_f64};
use atq_api_spec::report::Figures;

/// A sample as a format's reader hands it on. Text is bytes of the file: it is looked at by name only.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample<'a> {
    /// Microseconds since 1970 at its start.
    pub start: u64,
    /// Microseconds from start to end.
    pub elapsed: u64,
    /// What was done.
    pub label: &'a [u8],
    /// Whether it was a success.
    pub ok: bool,
    /// The sum of other samples (JMeter's transaction controller): a label of its own, not a part of the total.
    pub controller: bool,
    /// Response code.
    pub code: &'a [u8],
    /// What is wrong, if it is not ok.
    pub message: &'a [u8],
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Active threads or users of the worker.
    pub active: Option<u32>,
    /// Who made it; empty: unknown.
    pub worker: &'a [u8],
}

impl Sample<'_> {
    /// Microseconds since 1970 at its end.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.elapsed)
    }
}

/// Exact sums and the times of a set of samples.
#[derive(Debug, Clone)]
pub struct Sums {
    pub samples: u64,
    pub errors: u64,
    /// Microseconds, as all times here.
    pub elapsed: u64,
    pub shortest: u64,
    pub longest: u64,
    pub first_start: u64,
    pub last_end: u64,
    pub received: u64,
    pub sent: u64,
    pub times: Times,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            samples: 0,
            errors: 0,
            elapsed: 0,
            shortest: u64::MAX,
            longest: 0,
            first_start: u64::MAX,
            last_end: 0,
            received: 0,
            sent: 0,
            times: Times::default(),
        }
    }
}

impl Sums {
    /// Adds one.
    pub fn add(&mut self, sample: &Sample<'_>) {
        self.samples += 1;
        self.errors += u64::from(!sample.ok);
        self.elapsed = self.elapsed.saturating_add(sample.elapsed);
        self.shortest = self.shortest.min(sample.elapsed);
        self.longest = self.longest.max(sample.elapsed);
        self.first_start = self.first_start.min(sample.start);
        self.last_end = self.last_end.max(sample.end());
        self.received = self.received.saturating_add(sample.received);
        self.sent = self.sent.saturating_add(sample.sent);
        self.times.record(sample.elapsed);
    }

    /// Adds the sums of others, not their times.
    fn add_sums(&mut self, other: &Self) {
        self.samples += other.samples;
        self.errors += other.errors;
        self.elapsed = self.elapsed.saturating_add(other.elapsed);
        self.shortest = self.shortest.min(other.shortest);
        self.longest = self.longest.max(other.longest);
        self.first_start = self.first_start.min(other.first_start);
        self.last_end = self.last_end.max(other.last_end);
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
    }

    /// Seconds from the first start to the last end.
    pub fn seconds(&self) -> f64 {
        to_f64(self.last_end.saturating_sub(self.first_start)) / 1e6
    }
}

/// The sums of several sets, and the distribution of all their times.
pub fn together(sets: &[&Sums]) -> (Sums, Distribution) {
    let mut all = Sums::default();
    sets.iter().for_each(|set| all.add_sums(set));
    let times = sets.iter().map(|set| &set.times);
    let distribution = Distribution::of(times, all.shortest, all.longest);
    (all, distribution)
}

/// What is reported of sums and their distribution.
pub fn figures(sums: &Sums, times: &Distribution) -> Figures {
    if sums.samples == 0 {
        return Figures::default();
    }
    let (samples, seconds) = (to_f64(sums.samples), sums.seconds());
    Figures {
        samples: sums.samples,
        errors: sums.errors,
        error_percent: to_f64(sums.errors) / samples * 100.0,
        throughput: if seconds > 0.0 {
            samples / seconds
        } else {
            0.0
        },
        min: to_f64(sums.shortest) / 1000.0,
        mean: to_f64(sums.elapsed) / samples / 1000.0,
        p50: times.percentile(50.0),
        p90: times.percentile(90.0),
        p95: times.percentile(95.0),
        p99: times.percentile(99.0),
        max: to_f64(sums.longest) / 1000.0,
        received_bytes: sums.received,
        sent_bytes: sums.sent,
        missing: Vec::new(),
    }
}
