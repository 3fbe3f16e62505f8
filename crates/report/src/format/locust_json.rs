//! Locust's JSON (`--json`, `--json-file`): a list with the totals of each name and method, and a histogram
//! of response times. It has no entry for the overall total.

use super::locust::label;
use super::whole;
use super::{Figures, FileTally, KnownFigures, PercentilePoint, Summary, numbers, to_f64, to_u64};
use crate::histogram::curve;
use crate::summary::LOCUST_JSON;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Maximum plausible number of requests.
const MAX_REQUESTS: u64 = 1_000_000_000_000;

/// The percentiles of Locust's tables, in percent and as used in Locust's calculation.
const PERCENTILES: [(f64, f64); 11] = [
    (50.0, 0.50),
    (66.0, 0.66),
    (75.0, 0.75),
    (80.0, 0.80),
    (90.0, 0.90),
    (95.0, 0.95),
    (98.0, 0.98),
    (99.0, 0.99),
    (99.9, 0.999),
    (99.99, 0.9999),
    (100.0, 1.0),
];

/// The requests of a name and method, or of all. Times in milliseconds, dates in seconds since 1970.
#[derive(Debug, Default, Deserialize)]
struct Entry {
    name: String,
    method: Option<String>,
    start_time: Option<f64>,
    last_request_timestamp: Option<f64>,
    num_requests: u64,
    /// Requests without a response time.
    #[serde(default)]
    num_none_requests: u64,
    num_failures: u64,
    total_response_time: f64,
    min_response_time: Option<f64>,
    max_response_time: f64,
    total_content_length: u64,
    response_times: Times,
}

/// Number of requests by duration in microseconds.
#[derive(Debug, Default)]
struct Times(BTreeMap<u64, u64>);

/// Decodes the list.
pub fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let wrong = |error| format!("not a list of Locust's statistics: {error}");
    let mut all = Entry::default();
    let mut impossible = None;
    whole::each(text, |entry: Entry| match entry.is_possible() {
        true => all.merge(&entry),
        false => drop(impossible.get_or_insert(entry.name)),
    })
    .map_err(wrong)?;
    if let Some(name) = impossible {
        let name = numbers::short(&name);
        return Err(format!("the counts of `{name}` are impossible"));
    }
    if all.num_requests == 0 {
        return Ok(());
    }
    // Rates refer to the duration of the whole run, which is known only here.
    let seconds = all.seconds();
    let mut summary = Summary {
        form: LOCUST_JSON,
        total: all.figures(seconds),
        distribution: all.distribution(),
        duration: seconds,
        ..Summary::default()
    };
    whole::each(text, |entry: Entry| {
        let method = entry.method.as_deref().unwrap_or_default();
        let label = label(method.as_bytes(), entry.name.as_bytes());
        summary.add_label(&label, entry.figures(seconds));
    })
    .map_err(wrong)?;
    into.note(
        "percentiles are Locust's own: it rounds times to two digits, and merges them for a run on several workers",
    );
    into.note(
        "Locust's JSON has no messages of failures and no response times over time; throughput refers to the time from the first to the last response",
    );
    into.summarise(summary);
    Ok(())
}

impl Entry {
    /// True if the counts are consistent.
    fn is_possible(&self) -> bool {
        let counts = [self.num_requests, self.num_failures];
        let mut times = self.response_times.0.values();
        counts.iter().all(|count| *count <= MAX_REQUESTS)
            && self.num_none_requests <= self.num_requests
            && self.total_response_time.is_finite()
            && times.all(|count| *count <= MAX_REQUESTS)
    }

    fn merge(&mut self, other: &Self) {
        let reduce = |one: &mut Option<f64>, two: Option<f64>, by: fn(f64, f64) -> f64| {
            *one = one.iter().copied().chain(two).reduce(by);
        };
        let last = other.last_request_timestamp;
        reduce(&mut self.start_time, other.start_time, f64::min);
        reduce(&mut self.last_request_timestamp, last, f64::max);
        reduce(
            &mut self.min_response_time,
            other.min_response_time,
            f64::min,
        );
        self.max_response_time = self.max_response_time.max(other.max_response_time);
        self.num_requests += other.num_requests;
        self.num_none_requests += other.num_none_requests;
        self.num_failures += other.num_failures;
        self.total_response_time += other.total_response_time;
        self.total_content_length = self
            .total_content_length
            .saturating_add(other.total_content_length);
        for (micros, count) in &other.response_times.0 {
            *self.response_times.0.entry(*micros).or_default() += count;
        }
    }

    /// The time from the first to the last response.
    fn seconds(&self) -> Option<f64> {
        let seconds = self.last_request_timestamp? - self.start_time?;
        (seconds > 0.0).then_some(seconds)
    }

    fn figures(&self, seconds: Option<f64>) -> Figures {
        let timed = self.num_requests - self.num_none_requests;
        let if_timed = |value: f64| (timed > 0).then_some(value);
        let known = KnownFigures {
            samples: self.num_requests,
            errors: Some(self.num_failures),
            throughput: seconds.map(|seconds| to_f64(self.num_requests) / seconds),
            min: self.min_response_time.filter(|_| timed > 0),
            mean: if_timed(self.total_response_time / to_f64(timed)),
            p50: self.percentile(0.50),
            p90: self.percentile(0.90),
            p95: self.percentile(0.95),
            p99: self.percentile(0.99),
            max: if_timed(self.max_response_time),
            received: Some(to_f64(self.total_content_length)),
            ..KnownFigures::default()
        };
        known.figures()
    }

    /// A percentile by Locust's algorithm: it goes down from the longest time until at most this
    /// share of the requests remains.
    fn percentile(&self, part: f64) -> Option<f64> {
        let most = to_u64(to_f64(self.num_requests) * part);
        let mut left = self.num_requests;
        let mut times = self.response_times.0.iter().rev();
        let found = times.find(|(_, count)| {
            left = left.saturating_sub(**count);
            left <= most
        });
        found.map(|(micros, _)| to_f64(*micros) / 1000.0)
    }

    fn distribution(&self) -> Vec<PercentilePoint> {
        curve(PERCENTILES.map(|(percentile, part)| (percentile, self.percentile(part))))
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(TimesVisitor)
    }
}

struct TimesVisitor;

impl<'de> Visitor<'de> for TimesVisitor {
    type Value = Times;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("response times in milliseconds with their counts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Times, A::Error> {
        let mut times = Times::default();
        while let Some((millis, count)) = object.next_entry::<Cow<'_, str>, u64>()? {
            let micros = numbers::millis(millis.as_bytes())
                .ok_or_else(|| A::Error::custom("a response time is not a number"))?;
            let counted = times.0.entry(micros).or_default();
            *counted = count.saturating_add(*counted);
        }
        Ok(times)
    }
}
