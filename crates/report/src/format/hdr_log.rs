//! HdrHistogram's interval log: a histogram per line, optionally with a tag.
//!
//! Counts of equal buckets are added, so the figures cover all samples, with three digits. Values
//! have no unit in the file; it is derived from `Interval_Max`, which is in milliseconds by convention. The log does not
//! contain failures.

use super::detect::Detected;
use super::hdr_histogram::{Bucket, decode};
use super::lines::LineReader;
use super::numbers::{number, without_mark};
use super::{BadRow, Figures, FileTally, Format, KnownFigures, NamedFigures, Summary};
use super::{to_f64, to_u64};
use crate::histogram::{curve, curve_percentiles};
use crate::labels::OTHER;
use std::collections::BTreeMap;

/// Tags above this number are counted as one.
const MAX_TAGS: usize = 1000;
/// Maximum number of different values of all tags; above it, tags are not distinguished.
const MAX_VALUES: usize = 500_000;
/// Maximum length of a tag in bytes; longer ones are truncated.
const MAX_TAG: usize = 1000;
/// The label of lines without a tag in a log with tags.
const UNTAGGED: &str = "(no tag)";
/// Maximum plausible time of a log in seconds.
const MAX_SECONDS: f64 = 1e12;

const VERSION: &[u8] = b"#[Histogram log format version";
const FIRST_COLUMN: &[u8] = b"\"StartTimestamp\",";
const LAST_COLUMN: &[u8] = b"\"Interval_Compressed_Histogram\"";

/// Detects the log by its beginning; `None`: it is not such a log.
pub fn detect(head: &[u8], whole: bool) -> Option<Detected> {
    let head = without_mark(head);
    // An incomplete line is undecided.
    let end = memchr::memrchr(b'\n', head).filter(|_| !whole);
    let lines = head
        .get(..end.unwrap_or(head.len()))
        .filter(|_| whole || end.is_some())?;
    for line in lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        let is_legend = line.starts_with(FIRST_COLUMN) && line.ends_with(LAST_COLUMN);
        if line.starts_with(VERSION) || is_legend || is_interval(line) {
            return Some(Detected::Results(Format::HdrLog));
        }
        if !line.is_empty() && !line.starts_with(b"#") {
            return None;
        }
    }
    None
}

fn is_interval(line: &[u8]) -> bool {
    Interval::of(line).is_ok_and(|interval| {
        interval.histogram.starts_with(b"HIST") || interval.histogram.starts_with(b"DHIST")
    })
}

/// A line. Times in seconds.
struct Interval<'a> {
    tag: Option<&'a [u8]>,
    start: f64,
    end: f64,
    /// The longest time, by convention in milliseconds.
    max: f64,
    histogram: &'a [u8],
}

impl<'a> Interval<'a> {
    fn of(line: &'a [u8]) -> Result<Self, BadRow> {
        let (tag, rest) = match line.strip_prefix(b"Tag=") {
            Some(rest) => {
                let end = memchr::memchr(b',', rest).ok_or(BadRow::Fields(1, 5))?;
                let (tag, rest) = rest.split_at(end);
                (Some(tag), rest.get(1..).unwrap_or_default())
            }
            None => (None, line),
        };
        let fields: Vec<&[u8]> = rest.split(|byte| *byte == b',').take(6).collect();
        let &[start, length, max, histogram] = fields.as_slice() else {
            return Err(BadRow::Fields(fields.len(), 4));
        };
        let seconds = |name, text| {
            let seconds = number(text).filter(|seconds| (0.0..MAX_SECONDS).contains(seconds));
            seconds.ok_or_else(|| BadRow::value(name, text))
        };
        let start = seconds("StartTimestamp", start)?;
        Ok(Self {
            tag,
            start,
            end: start + seconds("Interval_Length", length)?,
            max: number(max).ok_or_else(|| BadRow::value("Interval_Max", max))?,
            histogram: histogram.trim_ascii(),
        })
    }
}

/// The values of some intervals.
#[derive(Debug)]
struct Values {
    samples: u64,
    sum: f64,
    min: u64,
    max: u64,
    /// Seconds.
    start: f64,
    end: f64,
    /// Counts by the highest value of a bucket. Three digits of any unit are about ten thousand values.
    counts: BTreeMap<u64, u64>,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            samples: 0,
            sum: 0.0,
            min: u64::MAX,
            max: 0,
            start: f64::INFINITY,
            end: 0.0,
            counts: BTreeMap::new(),
        }
    }
}

impl Values {
    fn of(interval: &Interval<'_>) -> Result<Self, &'static str> {
        let mut values = Self {
            start: interval.start,
            end: interval.end,
            ..Self::default()
        };
        decode(interval.histogram, |bucket| values.add(bucket))?;
        Ok(values)
    }

    fn add(&mut self, bucket: Bucket) {
        let Bucket { low, high, count } = bucket;
        self.samples = self.samples.saturating_add(count);
        let middle = low + (high - low).div_ceil(2);
        self.sum += to_f64(middle) * to_f64(count);
        self.min = self.min.min(low);
        self.max = self.max.max(high);
        let counted = self.counts.entry(to_three_digits(high)).or_default();
        *counted = counted.saturating_add(count);
    }

    fn merge(&mut self, other: &Self) {
        self.samples = self.samples.saturating_add(other.samples);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        for (value, count) in &other.counts {
            let counted = self.counts.entry(*value).or_default();
            *counted = counted.saturating_add(*count);
        }
    }

    /// A percentile by HdrHistogram's rule: the highest value of the bucket that contains the sample of this rank.
    fn percentile(&self, percentile: f64) -> Option<f64> {
        if percentile <= 0.0 {
            return Some(to_f64(self.min)).filter(|_| self.samples > 0);
        }
        let rank = percentile.next_down() / 100.0 * to_f64(self.samples);
        let rank = to_u64(rank.ceil()).clamp(1, self.samples.max(1));
        let mut seen = 0_u64;
        let mut counts = self.counts.iter();
        let found = counts.find(|(_, count)| {
            seen = seen.saturating_add(**count);
            seen >= rank
        });
        let (value, _) = found?;
        Some(to_f64((*value).min(self.max)))
    }

    fn seconds(&self) -> Option<f64> {
        Some(self.end - self.start).filter(|seconds| *seconds > 0.0)
    }

    /// `per_milli`: number of value units per millisecond; `None`: unknown.
    fn figures(&self, per_milli: Option<f64>) -> Figures {
        let samples = to_f64(self.samples);
        let has_samples = self.samples > 0;
        let millis = |value: Option<f64>| Some(value.filter(|_| has_samples)? / per_milli?);
        KnownFigures {
            samples: self.samples,
            throughput: self.seconds().map(|seconds| samples / seconds),
            min: millis(Some(to_f64(self.min))),
            mean: millis(Some(self.sum / samples)),
            max: millis(Some(to_f64(self.max))),
            ..KnownFigures::of_percentiles(|percentile| millis(self.percentile(percentile)))
        }
        .figures()
    }
}

/// The highest value with the same three digits, as in a histogram of three digits.
fn to_three_digits(value: u64) -> u64 {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(11);
    value | ((1 << shift) - 1)
}

/// The intervals of a log.
#[derive(Debug, Default)]
pub struct Log {
    /// Number of lines with a histogram.
    intervals: u64,
    all: Values,
    by_tag: BTreeMap<String, Values>,
    has_tags: bool,
    has_too_many_tags: bool,
    /// True once tags are no longer distinguished.
    has_too_many_values: bool,
    /// The largest `Interval_Max`, and the highest value of that line.
    largest: (f64, u64),
}

impl LineReader for Log {
    const ENDS_EVERY_LINE: bool = false;

    fn line(&mut self, line: &[u8], _: &mut FileTally) -> Result<(), BadRow> {
        let line = without_mark(line).trim_ascii();
        // Comments and column names.
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b"\"") {
            return Ok(());
        }
        let interval = Interval::of(line)?;
        let values = Values::of(&interval).map_err(BadRow::Histogram)?;
        if interval.max > self.largest.0 {
            self.largest = (interval.max, values.max);
        }
        self.intervals += 1;
        self.has_tags |= interval.tag.is_some();
        if !self.has_too_many_values {
            self.add_to_tag(interval.tag, &values);
        }
        self.all.merge(&values);
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.found.rows = self.intervals;
        // A log without samples results from a test without requests.
        if self.all.samples > 0 {
            self.note(self.unit().map(|(_, unit)| unit), into);
            into.summarise(self.summary());
        }
    }
}

impl Log {
    fn add_to_tag(&mut self, tag: Option<&[u8]>, values: &Values) {
        let tag = tag.map_or(UNTAGGED.into(), |tag| {
            String::from_utf8_lossy(tag.get(..MAX_TAG).unwrap_or(tag))
        });
        let is_other = self.by_tag.len() >= MAX_TAGS && !self.by_tag.contains_key(tag.as_ref());
        self.has_too_many_tags |= is_other;
        let tag = if is_other { OTHER } else { tag.as_ref() };
        let known = self.by_tag.entry(tag.to_owned()).or_default();
        known.merge(values);
        let kept = self.by_tag.values().map(|values| values.counts.len());
        if kept.sum::<usize>() > MAX_VALUES {
            self.has_too_many_values = true;
            self.by_tag.clear();
        }
    }

    /// The number of value units per millisecond, and the name of the unit.
    fn unit(&self) -> Option<(f64, &'static str)> {
        let (max, value) = self.largest;
        let units = [
            (1e6, "nanoseconds"),
            (1e3, "microseconds"),
            (1.0, "milliseconds"),
        ];
        // The file has three decimals, and may have the exact value instead of its bucket's.
        let fits = |per_milli: f64| (to_f64(value) / per_milli - max).abs() <= 0.001 + max * 0.01;
        units
            .into_iter()
            .find(|(per_milli, _)| max > 0.0 && fits(*per_milli))
    }

    fn note(&self, unit: Option<&str>, into: &mut FileTally) {
        into.note(match unit {
            Some(unit) => format!(
                "values of HdrHistogram's log have no unit: {unit} are assumed because `Interval_Max` is in milliseconds by convention"
            ),
            None => "values of HdrHistogram's log have no unit, and `Interval_Max` matches none: response times are unknown".to_owned(),
        });
        into.note("HdrHistogram's log does not contain failures");
        if self.has_too_many_tags {
            into.note(format!(
                "HdrHistogram's log has more than {MAX_TAGS} tags; the others are counted as `{OTHER}`"
            ));
        }
        if self.has_too_many_values && self.has_tags {
            into.note(
                "tags of HdrHistogram's log have too many different values: there are no labels",
            );
        }
    }

    fn summary(&self) -> Summary {
        let per_milli = self.unit().map(|(per_milli, _)| per_milli);
        let tags = self
            .by_tag
            .iter()
            .filter(|(_, values)| self.has_tags && values.samples > 0);
        let labels = tags.map(|(tag, values)| NamedFigures {
            name: tag.clone(),
            figures: values.figures(per_milli),
        });
        let millis = |percentile| Some(self.all.percentile(percentile)? / per_milli?);
        let points = curve_percentiles().map(|percentile| (percentile, millis(percentile)));
        Summary {
            form: "hdr-log",
            total: self.all.figures(per_milli),
            labels: labels.collect(),
            distribution: curve(points),
            duration: self.all.seconds(),
            ..Summary::default()
        }
    }
}
