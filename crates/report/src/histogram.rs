//! Compact histograms of response times, and percentiles.

use atq_api_spec::report::PercentilePoint;
use hdrhistogram::Histogram;

/// Significant decimal digits: the error of a time is at most a thousandth.
const DIGITS: u8 = 3;
/// Significant binary digits of a duration that [`DIGITS`] distinguish, and the minimum for a window.
pub const BITS: u32 = 10;
pub const MIN_BITS: u32 = 4;
/// Maximum number of buckets of [`Times::sparse`] before a histogram is allocated.
const MAX_SPARSE: usize = 1024;
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
    /// Counts by [`bucket`], sorted: those before the last compaction, or all if they are few and
    /// `most_sparse` allows it.
    sparse: Vec<(u16, u32)>,
    /// Up to this number of buckets, no histogram is allocated.
    most_sparse: usize,
    /// True if there were durations since [`Times::compact_idle`].
    is_active: bool,
}

impl Times {
    /// Counts that need less memory as long as they have few different durations. Counting is slower.
    pub fn sparse() -> Self {
        let sparse = || Counts {
            most_sparse: MAX_SPARSE,
            ..Counts::default()
        };
        Self {
            millis: sparse(),
            micros: sparse(),
        }
    }

    /// Counts a duration in microseconds, `count` times.
    pub fn record(&mut self, micros: u64, count: u64) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count == 0 {
            return;
        }
        let micros = micros.min(MAX_MILLIS * 1000);
        match micros.is_multiple_of(1000) {
            true => self.millis.add(micros / 1000, count),
            false => self.micros.add(micros, count),
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

    /// Reduces memory usage if there were no durations since the last call.
    pub fn compact_idle(&mut self) {
        for counts in [&mut self.millis, &mut self.micros] {
            if !std::mem::take(&mut counts.is_active) {
                counts.compact();
            }
        }
    }

    /// The memory of the counts in bytes.
    pub fn memory(&self) -> usize {
        self.millis.memory() + self.micros.memory()
    }

    /// Adds the counts to those of a distribution, as sorted runs.
    fn add_to(&self, into: &mut Vec<(u64, u64)>) {
        for (counts, unit) in [(&self.millis, 1000), (&self.micros, 1)] {
            for (bucket, count) in &counts.sparse {
                into.push((highest(*bucket, BITS) * unit, u64::from(*count)));
            }
            for step in counts.histogram.iter().flat_map(|all| all.iter_recorded()) {
                let count = step.count_since_last_iteration();
                into.push((step.value_iterated_to() * unit, count));
            }
        }
    }
}

impl Counts {
    fn memory(&self) -> usize {
        let histogram = self.histogram.as_ref();
        let counts = histogram.map_or(0, |all| all.distinct_values() * size_of::<u32>());
        counts + self.sparse.capacity() * size_of::<(u16, u32)>()
    }

    fn add(&mut self, value: u64, count: u32) {
        self.is_active = true;
        if self.histogram.is_none() {
            if self.sparse.len() < self.most_sparse {
                return self.insert(value, count);
            }
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
        for (bucket, count) in &other.sparse {
            self.add(highest(*bucket, BITS), *count);
        }
    }

    fn insert(&mut self, value: u64, count: u32) {
        let bucket = bucket(value, BITS);
        let found = self
            .sparse
            .binary_search_by_key(&bucket, |(number, _)| *number);
        match found {
            Ok(at) => self.sparse[at].1 = self.sparse[at].1.saturating_add(count),
            Err(at) => self.sparse.insert(at, (bucket, count)),
        }
    }

    fn compact(&mut self) {
        let Some(histogram) = self.histogram.take() else {
            return self.sparse.shrink_to_fit();
        };
        let counts = histogram.iter_recorded();
        let counts = counts.map(|step| (step.value_iterated_to(), step.count_at_value()));
        let counts = counts.map(|(value, count)| (bucket(value, BITS), count));
        self.sparse = joined(&self.sparse, &counts.collect::<Vec<_>>());
    }
}

/// Merges two sorted lists of counts by bucket.
fn joined(one: &[(u16, u32)], other: &[(u16, u32)]) -> Vec<(u16, u32)> {
    let mut all = [one, other].concat();
    // Both lists are sorted runs, which this sort merges.
    all.sort_by_key(|(bucket, _)| *bucket);
    all.dedup_by(|later, before| {
        let same = later.0 == before.0;
        before.1 = before.1.saturating_add(if same { later.1 } else { 0 });
        same
    });
    all.shrink_to_fit();
    all
}

/// The bucket of a duration: durations with the same leading `bits` + 1 binary digits share one. With [`BITS`], these are
/// the values that the histograms do not distinguish.
pub fn bucket(value: u64, bits: u32) -> u16 {
    let value = value.min(MAX_MILLIS * 1000);
    let shift = value
        .checked_ilog2()
        .unwrap_or_default()
        .saturating_sub(bits);
    // At the maximum, 31 * 1024 + 2047.
    u16::try_from((u64::from(shift) << bits) + (value >> shift)).unwrap_or(u16::MAX)
}

/// The longest duration of a bucket.
pub fn highest(bucket: u16, bits: u32) -> u64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> bits).saturating_sub(1);
    ((bucket - (shift << bits) + 1) << shift) - 1
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
        let mut counts = Vec::new();
        for times in times {
            times.add_to(&mut counts);
        }
        // Fast for sorted runs.
        counts.sort_by_key(|(micros, _)| *micros);
        counts.dedup_by(|later, before| {
            let same = later.0 == before.0;
            before.1 += if same { later.1 } else { 0 };
            same
        });
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

    /// The number of samples.
    pub fn samples(&self) -> u64 {
        self.steps.last().map_or(0, |(_, seen)| *seen)
    }

    /// The number of samples up to a duration in milliseconds. It includes those that are longer by less than a thousandth.
    pub fn up_to(&self, millis: u64) -> u64 {
        let equal = |value| highest(bucket(value, BITS), BITS);
        let longest = (equal(millis) * 1000).max(equal(millis * 1000));
        let step = self.steps.partition_point(|(upper, _)| *upper <= longest);
        let last = step.checked_sub(1).and_then(|last| self.steps.get(last));
        last.map_or(0, |(_, seen)| *seen)
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
        micros.iter().for_each(|micros| times.record(*micros, 1));
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

    proptest::proptest! {
        #[test]
        fn sparse_and_compacted_counts_equal_those_of_a_histogram(
            micros in proptest::collection::vec(0..40_u32, 1..200),
            scatter in proptest::prelude::any::<u64>(),
        ) {
            let micros: Vec<u64> = micros.iter().enumerate().map(|(n, power)| {
                let low = scatter.rotate_left(u32::try_from(n).unwrap()) % (1 << power);
                (1_u64 << power) + low
            }).collect();
            let (mut dense, mut sparse, mut compacted) = (Times::default(), Times::sparse(), Times::default());
            for (n, micros) in micros.iter().enumerate() {
                for times in [&mut dense, &mut sparse, &mut compacted] {
                    times.record(*micros, 1);
                }
                if n % 7 == 0 {
                    compacted.compact();
                }
            }
            let steps = |times: &Times| Distribution::of([times], 0, u64::MAX).steps;
            proptest::prop_assert_eq!(steps(&sparse), steps(&dense));
            proptest::prop_assert_eq!(steps(&compacted), steps(&dense));
        }
    }

    #[test]
    fn merging_equals_recording_together() {
        let (mut one, mut two) = (Times::default(), Times::default());
        for micros in 0..5000 {
            if micros % 3 == 0 { &mut one } else { &mut two }.record(micros * 700, 1);
        }
        let apart = Distribution::of([&one, &two], 0, 3_499_300);
        one.merge(&two);
        let merged = Distribution::of([&one], 0, 3_499_300);
        assert_eq!(apart.steps, merged.steps);
        assert!((merged.percentile(90.0) / 3150.0 - 1.0).abs() < 1e-3);
    }
}
