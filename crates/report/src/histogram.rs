//! Compact histograms of response times, and percentiles.

use atq_api_spec::report::PercentilePoint;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Significant decimal digits: the error of a time is at most a thousandth.
const DIGITS: u8 = 3;
/// Times above eleven days are clamped, so that invalid values do not increase the memory usage.
const MAX_MILLIS: u64 = 1_000_000_000;

/// Counts of durations. Whole milliseconds, as written by JMeter, are counted separately and are exact up to
/// 2,047 ms. Other durations use the larger histogram of microseconds.
#[derive(Debug, Clone, Default)]
pub struct Times {
    millis: Counts,
    micros: Counts,
}

/// Counts in one unit.
#[derive(Debug, Clone, Default)]
struct Counts {
    histogram: Option<Box<Histogram<u32>>>,
    /// Counts after compaction.
    compact: Box<[(u64, u32)]>,
}

impl Times {
    /// Counts a duration in microseconds.
    pub fn record(&mut self, micros: u64) {
        let micros = micros.min(MAX_MILLIS * 1000);
        match micros.is_multiple_of(1000) {
            true => self.millis.add(micros / 1000, 1),
            false => self.micros.add(micros, 1),
        }
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        self.millis.merge(&other.millis);
        self.micros.merge(&other.micros);
    }

    /// Reduces memory usage if no more durations are expected soon.
    pub fn compact(&mut self) {
        self.millis.compact();
        self.micros.compact();
    }

    /// Adds the counts to those of a distribution.
    fn add_to(&self, into: &mut BTreeMap<u64, u64>) {
        for (counts, unit) in [(&self.millis, 1000), (&self.micros, 1)] {
            for (value, count) in &counts.compact {
                *into.entry(value * unit).or_default() += u64::from(*count);
            }
            for step in counts.histogram.iter().flat_map(|all| all.iter_recorded()) {
                *into.entry(step.value_iterated_to() * unit).or_default() +=
                    step.count_since_last_iteration();
            }
        }
    }
}

impl Counts {
    fn add(&mut self, value: u64, count: u32) {
        if self.histogram.is_none() {
            self.histogram = Histogram::new(DIGITS).ok().map(Box::new);
        }
        if let Some(histogram) = &mut self.histogram {
            // The histogram resizes up to the maximum, so this cannot fail.
            let _ = histogram.record_n(value, count);
        }
    }

    fn merge(&mut self, other: &Self) {
        if let Some(theirs) = &other.histogram {
            match &mut self.histogram {
                // The histogram resizes as needed.
                Some(ours) => drop(ours.add(&**theirs)),
                none => *none = Some(theirs.clone()),
            }
        }
        for (value, count) in &other.compact {
            self.add(*value, *count);
        }
    }

    fn compact(&mut self) {
        for (value, count) in std::mem::take(&mut self.compact) {
            self.add(value, count);
        }
        if let Some(histogram) = self.histogram.take() {
            let counts = histogram.iter_recorded();
            let counts = counts.map(|step| (step.value_iterated_to(), step.count_at_value()));
            self.compact = counts.collect();
        }
    }
}

/// Sorted durations with cumulative counts.
#[derive(Debug, Default)]
pub struct Distribution {
    /// Durations in microseconds, with the number of samples up to each.
    steps: Vec<(u64, u64)>,
    shortest: u64,
    longest: u64,
}

impl Distribution {
    /// The distribution of all durations together: counts are added, so percentiles are exact for the union.
    /// `shortest` and `longest` are exact, in microseconds.
    pub fn of<'a>(times: impl IntoIterator<Item = &'a Times>, shortest: u64, longest: u64) -> Self {
        let mut counts = BTreeMap::new();
        for times in times {
            times.add_to(&mut counts);
        }
        Self::of_counts(counts, shortest, longest)
    }

    /// A distribution of sorted durations in microseconds with their counts.
    pub fn of_counts(
        counts: impl IntoIterator<Item = (u64, u64)>,
        shortest: u64,
        longest: u64,
    ) -> Self {
        let mut seen = 0;
        let steps = counts.into_iter().map(|(micros, count)| {
            seen += count;
            (micros, seen)
        });
        Self {
            steps: steps.collect(),
            shortest,
            longest,
        }
    }

    fn samples(&self) -> u64 {
        self.steps.last().map_or(0, |(_, seen)| *seen)
    }

    /// The time of the sample with this rank, which begins with one; in microseconds.
    fn ranked(&self, rank: u64) -> u64 {
        if rank <= 1 {
            return self.shortest;
        }
        if rank >= self.samples() {
            return self.longest;
        }
        let step = self.steps.partition_point(|(_, seen)| *seen < rank);
        let step = self.steps.get(step);
        let micros = step.map_or(self.longest, |(micros, _)| *micros);
        micros.clamp(self.shortest, self.longest)
    }

    /// A percentile in milliseconds; zero without samples. The estimate that JMeter's dashboard
    /// uses as well: of n samples, it lies at rank p (n + 1) / 100, between the two neighbours.
    pub fn percentile(&self, percentile: f64) -> f64 {
        let samples = self.samples();
        if samples == 0 {
            return 0.0;
        }
        let position = percentile.clamp(0.0, 100.0) * (to_f64(samples) + 1.0) / 100.0;
        let (floor, fraction) = (position.floor(), position.fract());
        let rank = to_u64(floor);
        let low = to_f64(self.ranked(rank));
        let high = to_f64(self.ranked(rank + 1));
        (low + fraction * (high - low)) / 1000.0
    }
}

/// Counts and microseconds of any run are far below 2^53.
#[expect(clippy::cast_precision_loss)]
pub fn to_f64(value: u64) -> f64 {
    value as f64
}

/// Truncates; negative numbers and NaN become zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn to_u64(value: f64) -> u64 {
    value as u64
}

/// The percentiles with known times, in order.
pub fn curve(percentiles: impl IntoIterator<Item = (f64, Option<f64>)>) -> Vec<PercentilePoint> {
    let points = percentiles.into_iter().filter_map(|(percentile, millis)| {
        let millis = millis?;
        Some(PercentilePoint { percentile, millis })
    });
    let mut points: Vec<PercentilePoint> = points.collect();
    points.sort_by(|one, other| one.percentile.total_cmp(&other.percentile));
    points
}

/// The time of a percentile, if it is one of the points.
pub fn at_percentile(points: &[PercentilePoint], wanted: f64) -> Option<f64> {
    let mut points = points.iter();
    let found = points.find(|point| (point.percentile - wanted).abs() < 1e-9);
    found.map(|point| point.millis)
}

/// The percentiles of the curve: finer where it is steep.
pub(crate) fn curve_percentiles() -> impl Iterator<Item = f64> {
    let coarse = (0..18).map(|step| f64::from(step) * 5.0);
    let fine = (90..99).map(f64::from);
    let finer = (990..999).map(|step| f64::from(step) / 10.0);
    let finest = (9990..10_000).map(|step| f64::from(step) / 100.0);
    let percentiles = [0.0, 1.0]
        .into_iter()
        .chain(coarse.skip(1))
        .chain([85.0 + 2.5]);
    let percentiles = percentiles.chain(fine).chain(finer).chain(finest);
    percentiles.chain([99.995, 99.999, 100.0])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;

    fn distribution(micros: &[u64]) -> Distribution {
        let mut times = Times::default();
        micros.iter().for_each(|micros| times.record(*micros));
        let (shortest, longest) = (micros.iter().min(), micros.iter().max());
        Distribution::of([&times], *shortest.unwrap(), *longest.unwrap())
    }

    #[test]
    fn whole_milliseconds_are_exact_up_to_two_seconds() {
        for millis in [0, 1, 5, 99, 1234, 2047] {
            let found = distribution(&[0, millis * 1000, 3_600_000_000]).percentile(50.0);
            assert_eq!(found, to_f64(millis));
        }
    }

    #[test]
    fn percentiles_lie_between_their_neighbours() {
        let ten: Vec<u64> = (1..=10).map(|n| n * 1000).collect();
        let found = distribution(&ten);
        assert_eq!(found.percentile(50.0), 5.5);
        assert!((found.percentile(90.0) - 9.9).abs() < 1e-9);
        assert_eq!(found.percentile(99.0), 10.0);
        assert_eq!(found.percentile(0.0), 1.0);
    }

    #[test]
    fn long_and_fractional_durations_are_within_a_thousandth() {
        let found = distribution(&[1, 123_456_789, u64::MAX]).percentile(50.0);
        assert!((found / 123_456.789 - 1.0).abs() < 1e-3, "{found}");
    }

    #[test]
    fn merging_equals_recording_together() {
        let (mut one, mut two) = (Times::default(), Times::default());
        for micros in 0..5000 {
            if micros % 3 == 0 { &mut one } else { &mut two }.record(micros * 700);
        }
        let apart = Distribution::of([&one, &two], 0, 3_499_300);
        one.merge(&two);
        let merged = Distribution::of([&one], 0, 3_499_300);
        assert_eq!(apart.steps, merged.steps);
        assert!((merged.percentile(90.0) / 3150.0 - 1.0).abs() < 1e-3);
    }
}
