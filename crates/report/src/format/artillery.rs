//! Artillery's JSON (`run --output`): the figures of the whole run and of intervals, in the layout of Artillery 2
//! or of Artillery 1, which Artillery 2 can write as well.

use super::whole::{self, Number};
use super::{FileTally, KnownFigures, PercentilePoint, Sample, Summary, to_f64, to_u64};
use crate::errors::MAX_KINDS;
use crate::histogram::curve;
use crate::labels::OTHER;
use crate::sample::{Sums, figures, together};
use atq_api_spec::report::SeriesPoint;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Length of the intervals of Artillery 2 in seconds.
const INTERVAL: u64 = 10;
/// The end of the year 9999, in milliseconds since 1970.
const LATEST: f64 = 253_402_300_800_000.0;
/// Prefix of figures from the plugin that Artillery 2 enables by default.
const BY_ENDPOINT: &str = "plugins.metrics-by-endpoint.";

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    aggregate: Part<'a>,
    #[serde(borrow)]
    intermediate: Option<&'a RawValue>,
}

/// Figures of the whole run or of an interval. Times and dates in milliseconds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    /// An unexpected text in an interval.
    period: Option<serde_json::Value>,
    #[serde(borrow)]
    counters: Option<&'a RawValue>,
    #[serde(borrow)]
    summaries: Option<&'a RawValue>,
    first_metric_at: Number,
    last_metric_at: Number,
    // The layout of Artillery 1.
    requests_completed: Number,
    latency: Option<Latency>,
    rps: Option<Rate>,
    #[serde(borrow)]
    codes: Option<&'a RawValue>,
    #[serde(borrow)]
    errors: Option<&'a RawValue>,
    /// Artillery 1.6 and 1.7: latencies of single responses in nanoseconds.
    #[serde(borrow)]
    latencies: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Rate {
    count: Number,
    mean: Number,
}

#[derive(Deserialize, Default, Clone, Copy)]
struct Latency {
    min: Number,
    max: Number,
    mean: Number,
    median: Number,
    p75: Number,
    p90: Number,
    p95: Number,
    p99: Number,
    p999: Number,
}

impl Latency {
    fn known(self) -> KnownFigures {
        KnownFigures {
            min: self.min.0,
            mean: self.mean.0,
            p50: self.median.0,
            p90: self.p90.0,
            p95: self.p95.0,
            p99: self.p99.0,
            max: self.max.0,
            ..KnownFigures::default()
        }
    }

    fn distribution(self) -> Vec<PercentilePoint> {
        curve([
            (0.0, self.min.0),
            (50.0, self.median.0),
            (75.0, self.p75.0),
            (90.0, self.p90.0),
            (95.0, self.p95.0),
            (99.0, self.p99.0),
            (99.9, self.p999.0),
            (100.0, self.max.0),
        ])
    }
}

/// Number of requests and of failed ones.
#[derive(Debug, Default, Clone, Copy)]
struct Requests {
    sent: u64,
    responses: u64,
    /// Responses with an unsuccessful status.
    bad: u64,
    /// Artillery's errors.
    errors: u64,
}

impl Requests {
    /// Artillery does not count a status as an error. Its errors have no response, except failed captures and
    /// expectations.
    fn failed(self) -> u64 {
        let without_response = self.sent.saturating_sub(self.responses).max(self.errors);
        self.bad.saturating_add(without_response).min(self.sent)
    }

    /// True if some errors belong to requests with a response.
    fn is_about(self) -> bool {
        self.errors > self.sent.saturating_sub(self.responses)
    }

    /// The figures of requests with these times.
    fn known(self, latency: Latency) -> KnownFigures {
        KnownFigures {
            samples: self.sent,
            errors: Some(self.failed()),
            ..latency.known()
        }
    }

    fn code(&mut self, code: &str, count: u64) {
        if is_bad(code) {
            self.bad = self.bad.saturating_add(count);
        }
    }
}

fn is_bad(code: &str) -> bool {
    !code
        .parse::<u16>()
        .is_ok_and(|code| (200..400).contains(&code))
}

/// Decodes a report.
pub fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let wrong = |error| format!("not a report of Artillery: {error}");
    let document: Document<'_> = serde_json::from_slice(text).map_err(wrong)?;
    let summary = match document.aggregate.requests_completed.0 {
        Some(_) => of_first(&document, into),
        None => of_second(&document, into),
    };
    into.summarise(summary.map_err(wrong)?);
    Ok(())
}

/// Calls a function for each number of an object, if there is one.
fn each_count(
    counts: Option<&RawValue>,
    mut take: impl FnMut(&str, f64),
) -> Result<(), serde_json::Error> {
    let counts = counts.map_or("{}", RawValue::get);
    whole::each_named(counts.as_bytes(), |name, value: Number| {
        take(name, value.0.unwrap_or_default());
    })
}

/// The relevant counters of Artillery 2.
#[derive(Debug, Default)]
struct Counters {
    http: Requests,
    /// Bytes of bodies, according to response headers.
    received: Option<f64>,
    /// Completed and failed virtual users.
    completed: u64,
    failed: u64,
    endpoints: BTreeMap<String, Requests>,
    /// Kinds of errors.
    kinds: Vec<(String, u64)>,
}

impl Counters {
    fn of(counters: Option<&RawValue>) -> Result<Self, serde_json::Error> {
        let mut all = Self::default();
        each_count(counters, |name, value| all.add(name, value))?;
        Ok(all)
    }

    fn add(&mut self, name: &str, value: f64) {
        let count = to_u64(value);
        if let Some(code) = name.strip_prefix("http.codes.") {
            self.http.code(code, count);
            if is_bad(code) {
                self.kind(code, count);
            }
        } else if let Some(error) = name.strip_prefix("errors.") {
            self.http.errors = self.http.errors.saturating_add(count);
            self.kind(error, count);
        } else if let Some(name) = name.strip_prefix(BY_ENDPOINT) {
            self.endpoint(name, count);
        } else {
            match name {
                "http.requests" => self.http.sent = count,
                "http.responses" => self.http.responses = count,
                "http.downloaded_bytes" => self.received = Some(value),
                "vusers.completed" => self.completed = count,
                "vusers.failed" => self.failed = count,
                _ => {}
            }
        }
    }

    fn kind(&mut self, name: &str, count: u64) {
        if let Some((_, others)) = self.kinds.get_mut(MAX_KINDS) {
            *others = others.saturating_add(count);
        } else if count > 0 {
            let is_free = self.kinds.len() < MAX_KINDS;
            let name = if is_free { name } else { OTHER };
            self.kinds.push((name.to_owned(), count));
        }
    }

    /// `/path.codes.200` or `/path.errors.ETIMEDOUT`.
    fn endpoint(&mut self, name: &str, count: u64) {
        let by_code = name
            .rsplit_once(".codes.")
            .filter(|(_, code)| code.parse::<u16>().is_ok());
        if let Some((endpoint, code)) = by_code {
            let requests = self.endpoints.entry(endpoint.to_owned()).or_default();
            requests.sent = requests.sent.saturating_add(count);
            requests.responses = requests.responses.saturating_add(count);
            requests.code(code, count);
        } else if let Some((endpoint, _)) = name.split_once(".errors.") {
            let requests = self.endpoints.entry(endpoint.to_owned()).or_default();
            requests.sent = requests.sent.saturating_add(count);
            requests.errors = requests.errors.saturating_add(count);
        }
    }
}

/// The relevant times of Artillery 2.
#[derive(Default)]
struct Latencies {
    http: Option<Latency>,
    sessions: Option<Latency>,
    endpoints: BTreeMap<String, Latency>,
}

impl Latencies {
    fn of(summaries: Option<&RawValue>) -> Result<Self, serde_json::Error> {
        let mut all = Self::default();
        let summaries = summaries.map_or("{}", RawValue::get);
        whole::each_named(summaries.as_bytes(), |name, latency: Latency| {
            let endpoint = name
                .strip_prefix(BY_ENDPOINT)
                .and_then(|name| name.strip_prefix("response_time."));
            match (name, endpoint) {
                (_, Some(endpoint)) => drop(all.endpoints.insert(endpoint.to_owned(), latency)),
                ("http.response_time", _) => all.http = Some(latency),
                ("vusers.session_length", _) => all.sessions = Some(latency),
                _ => {}
            }
        })?;
        Ok(all)
    }
}

/// Decodes the layout of Artillery 2.
fn of_second(document: &Document<'_>, into: &mut FileTally) -> Result<Summary, serde_json::Error> {
    let aggregate = &document.aggregate;
    let counters = Counters::of(aggregate.counters)?;
    let latencies = Latencies::of(aggregate.summaries)?;
    let is_http = counters.http.sent > 0;
    let span = span(aggregate);
    let seconds = span.map(|(first, last)| (last - first) / 1000.0);
    let seconds = seconds.filter(|seconds| *seconds > 0.0);
    let (samples, errors, latency) = match is_http {
        true => (counters.http.sent, counters.http.failed(), latencies.http),
        false => {
            let ended = counters.completed.saturating_add(counters.failed);
            (ended, counters.failed, latencies.sessions)
        }
    };
    let latency = latency.unwrap_or_default();
    let known = KnownFigures {
        samples,
        errors: Some(errors),
        throughput: seconds.map(|seconds| to_f64(samples) / seconds),
        received: counters.received,
        ..latency.known()
    };
    let mut summary = Summary {
        form: "artillery",
        total: known.figures(),
        distribution: latency.distribution(),
        duration: seconds,
        ..Summary::default()
    };
    for (name, requests) in &counters.endpoints {
        let latency = latencies.endpoints.get(name).copied().unwrap_or_default();
        summary.add_label(name, requests.known(latency).figures());
    }
    for (kind, count) in &counters.kinds {
        into.summary_errors.add(kind.as_bytes(), b"", *count);
    }
    note(counters.http, into);
    if is_http {
        into.note(
            "throughput covers the time from Artillery's first figure to its last; its own `http.request_rate` is the mean of the seconds with requests",
        );
        if let (Some(intermediate), Some(span)) = (document.intermediate, span) {
            history(intermediate, span, into)?;
        }
    } else if samples > 0 {
        into.note("there are no HTTP requests in Artillery's report: samples are its virtual users, with the lengths of their sessions");
    }
    if !summary.labels.is_empty() {
        into.note("labels are those of Artillery's plugin metrics-by-endpoint, which counts a request that is redirected once");
    }
    Ok(summary)
}

/// The first and the last date in milliseconds.
fn span(part: &Part<'_>) -> Option<(f64, f64)> {
    let (first, last) = (part.first_metric_at.0?, part.last_metric_at.0?);
    (0.0 <= first && first <= last && last < LATEST).then_some((first, last))
}

fn note(requests: Requests, into: &mut FileTally) {
    into.note(
        "errors are responses with a status outside of 200 to 399, and Artillery's errors; percentiles are Artillery's own and cover responses only",
    );
    if requests.is_about() {
        into.note("some of Artillery's errors belong to requests with a response (a failed capture or expectation): a request that also has a bad status is counted twice");
    }
}

fn history(
    intermediate: &RawValue,
    (first, last): (f64, f64),
    into: &mut FileTally,
) -> Result<(), serde_json::Error> {
    into.history.every(INTERVAL);
    let mut failed = Ok(());
    whole::each(
        intermediate.get().as_bytes(),
        |part: Part<'_>| match point(&part) {
            Ok(Some((second, point))) => into.history.put(second, point),
            Ok(None) => {}
            Err(error) => failed = Err(error),
        },
    )?;
    if into.history.has_points() {
        into.history
            .spans(to_u64(first / 1000.0), to_u64(last / 1000.0));
        into.note("figures over time are Artillery's own, in intervals of ten seconds");
    }
    failed
}

fn point(part: &Part<'_>) -> Result<Option<(u64, SeriesPoint)>, serde_json::Error> {
    let period = part.period.as_ref();
    let period = period.and_then(|period| match period.as_str() {
        Some(text) => text.parse().ok(),
        None => period.as_f64(),
    });
    let Some(period) = period.filter(|period| (0.0..LATEST).contains(period)) else {
        return Ok(None);
    };
    let counters = Counters::of(part.counters)?;
    let latency = Latencies::of(part.summaries)?.http.unwrap_or_default();
    let point = SeriesPoint {
        samples: counters.http.sent,
        errors: counters.http.failed(),
        mean: latency.mean.0.unwrap_or_default(),
        p50: latency.median.0.unwrap_or_default(),
        p90: latency.p90.0.unwrap_or_default(),
        p95: latency.p95.0.unwrap_or_default(),
        p99: latency.p99.0.unwrap_or_default(),
        max: latency.max.0.unwrap_or_default(),
        received_bytes: to_u64(counters.received.unwrap_or_default()),
        ..SeriesPoint::default()
    };
    Ok(Some((to_u64(period / 1000.0), point)))
}

/// Decodes the layout of Artillery 1.
fn of_first(document: &Document<'_>, into: &mut FileTally) -> Result<Summary, serde_json::Error> {
    let aggregate = &document.aggregate;
    let requests = first_requests(aggregate, into)?;
    let latency = aggregate.latency.unwrap_or_default();
    let rate = aggregate.rps.as_ref().and_then(|rate| rate.mean.0);
    // Artillery 2 writes zero here.
    let rate = rate.filter(|rate| *rate > 0.0);
    let mut known = KnownFigures {
        throughput: rate,
        ..requests.known(latency)
    };
    if known.mean.is_none() || known.p90.is_none() {
        let times = document.intermediate.map(single_times).transpose()?;
        if let Some(times) = times.filter(|times| times.counts.samples == requests.responses) {
            let (sums, times) = together(&[&times]);
            let times = figures(&sums, &times);
            let is_any = sums.counts.samples > 0;
            known.mean = known.mean.or(is_any.then_some(times.mean));
            known.p90 = known.p90.or(is_any.then_some(times.p90));
            into.note(
                "mean and p90 are calculated from the latencies in Artillery's intermediate reports",
            );
        }
    }
    note(requests, into);
    into.note("this layout of Artillery's report has no labels, and no figures over time are taken from it");
    Ok(Summary {
        form: "artillery",
        total: known.figures(),
        distribution: latency.distribution(),
        duration: rate.map(|rate| to_f64(requests.sent) / rate),
        ..Summary::default()
    })
}

/// Artillery 1 counts sent requests. Artillery 2 in the layout of Artillery 1 counts responses
/// instead, and also system errors, which have no response.
fn first_requests(part: &Part<'_>, into: &mut FileTally) -> Result<Requests, serde_json::Error> {
    let mut requests = Requests {
        responses: to_u64(part.requests_completed.0.unwrap_or_default()),
        ..Requests::default()
    };
    let mut without_response = 0_u64;
    each_count(part.codes, |code, value| {
        let count = to_u64(value);
        requests.code(code, count);
        if is_bad(code) {
            into.summary_errors.add(code.as_bytes(), b"", count);
        }
    })?;
    each_count(part.errors, |error, value| {
        let count = to_u64(value);
        requests.errors = requests.errors.saturating_add(count);
        if is_system_error(error) {
            without_response = without_response.saturating_add(count);
        }
        into.summary_errors.add(error.as_bytes(), b"", count);
    })?;
    let sent = part.rps.as_ref().and_then(|rate| rate.count.0);
    let sent = to_u64(sent.unwrap_or_default());
    requests.sent = match sent > requests.responses {
        true => sent,
        false => requests.responses.saturating_add(without_response),
    };
    Ok(requests)
}

/// Error codes such as `ECONNREFUSED`.
fn is_system_error(name: &str) -> bool {
    let is_code = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.starts_with('E') && name.bytes().all(is_code)
}

/// Latencies of single responses.
fn single_times(intermediate: &RawValue) -> Result<Sums, serde_json::Error> {
    let mut all = Sums::default();
    let mut failed = Ok(());
    whole::each(intermediate.get().as_bytes(), |part: Part<'_>| {
        let Some(latencies) = part.latencies else {
            return;
        };
        let read = whole::each(latencies.get().as_bytes(), |nanos: Number| {
            // Longer than any response.
            all.add(&Sample {
                elapsed: to_u64(nanos.0.unwrap_or_default().min(1e18) / 1000.0),
                ..Sample::default()
            });
        });
        if let Err(error) = read {
            failed = Err(error);
        }
    })?;
    failed.map(|()| all)
}
