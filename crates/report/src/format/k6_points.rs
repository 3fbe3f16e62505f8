//! k6's individual points: `--out csv` and `--out json`. A request is its `http_req_duration`; in a test
//! without HTTP, an iteration is a sample.

use super::jtl_csv::is_success;
use super::lines::LineReader;
use super::numbers::{LATEST, millis, millis_of, number, rfc3339, whole, without_mark};
use super::rows::Rows;
use super::table::{Header, Table};
use super::{BadRow, FileTally, Sample, to_u64};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::VecDeque;

/// Maximum number of requests pending for their `http_req_failed` point, which follows immediately.
const MAX_WAITING: usize = 1024;
/// Maximum length of names and messages of pending requests, in characters.
const MAX_TEXT: usize = 1000;

/// A point in either format.
struct Point<'a> {
    metric: &'a str,
    /// Microseconds since 1970.
    at: u64,
    value: f64,
    tags: Tags<'a>,
}

#[derive(Deserialize, Default)]
struct Tags<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    error: Cow<'a, str>,
    #[serde(borrow, default)]
    error_code: Cow<'a, str>,
    #[serde(borrow, default)]
    expected_response: Cow<'a, str>,
    #[serde(borrow, default)]
    scenario: Cow<'a, str>,
}

/// A request with unknown outcome.
#[derive(Debug)]
struct Waiting {
    at: u64,
    elapsed: u64,
    name: String,
    status: String,
    code: String,
    error: String,
}

/// The points of a file; `--out json` writes one per line.
#[derive(Debug, Default)]
pub struct Points {
    waiting: VecDeque<Waiting>,
    /// Iterations, kept until the first HTTP request.
    iterations: Option<Box<FileTally>>,
    has_requests: bool,
    has_other_requests: bool,
}

/// The supported metrics; values of others are ignored.
fn is_read(metric: &str) -> bool {
    const READ: [&str; 9] = [
        "http_req_duration",
        "http_req_failed",
        "iteration_duration",
        "data_received",
        "data_sent",
        "vus",
        "grpc_req_duration",
        "ws_session_duration",
        "browser_http_req_duration",
    ];
    READ.contains(&metric)
}

impl Points {
    /// Adds a point.
    fn add(&mut self, point: &Point<'_>, into: &mut FileTally) -> Result<(), BadRow> {
        let bad = || BadRow::value("value", point.value.to_string().as_bytes());
        let elapsed = || millis_of(point.value).ok_or_else(bad);
        let count = || elapsed().map(|_| to_u64(point.value));
        match point.metric {
            "http_req_duration" => {
                self.has_requests = true;
                self.iterations = None;
                self.request(point, elapsed()?, into);
            }
            "http_req_failed" => self.outcome(point, into),
            "iteration_duration" if !self.has_requests => {
                let iterations = self
                    .iterations
                    .get_or_insert_with(|| Box::new(into.empty_like()));
                let name = match point.tags.scenario.as_ref() {
                    "" => "iteration",
                    name => name,
                };
                let elapsed = elapsed()?;
                iterations.add(&Sample {
                    start: Some(point.at.saturating_sub(elapsed)),
                    elapsed,
                    errors: None,
                    label: name.as_bytes(),
                    is_dated_by_end: true,
                    ..Sample::default()
                });
            }
            // Data is counted per iteration, for all its requests together.
            "data_received" => {
                into.samples.extra_received = into.samples.extra_received.saturating_add(count()?);
            }
            "data_sent" => {
                into.samples.extra_sent = into.samples.extra_sent.saturating_add(count()?);
            }
            "vus" => {
                let users = u32::try_from(count()?).unwrap_or(u32::MAX);
                into.active(point.at, users);
            }
            "grpc_req_duration" | "ws_session_duration" | "browser_http_req_duration" => {
                self.has_other_requests = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn request(&mut self, point: &Point<'_>, elapsed: u64, into: &mut FileTally) {
        let tags = &point.tags;
        let code = match tags.status.as_ref() {
            "0" => &tags.error_code,
            _ => &tags.status,
        };
        let failed = match tags.expected_response.as_ref() {
            "true" => Some(false),
            "" => None,
            _ => Some(true),
        };
        let waiting = Waiting {
            at: point.at,
            elapsed,
            name: cut(&tags.name),
            status: cut(&tags.status),
            code: cut(code),
            error: cut(&tags.error),
        };
        match failed {
            Some(failed) => waiting.add(Some(failed), into),
            // The tag can be disabled; then a point of another metric has the outcome.
            None => {
                self.waiting.push_back(waiting);
                if self.waiting.len() > MAX_WAITING
                    && let Some(first) = self.waiting.pop_front()
                {
                    first.add_by_status(into);
                }
            }
        }
    }

    /// Sets the outcome of the request with this time and name.
    fn outcome(&mut self, point: &Point<'_>, into: &mut FileTally) {
        let mut waiting = self.waiting.iter();
        let found = waiting.position(|waiting| {
            waiting.at == point.at
                && waiting.name == point.tags.name
                && waiting.status == point.tags.status
        });
        if let Some(waiting) = found.and_then(|at| self.waiting.remove(at)) {
            waiting.add(Some(point.value != 0.0), into);
        }
    }

    /// Iterations, as long as there is no request.
    fn iterations(&self) -> Option<&FileTally> {
        self.iterations.as_deref()
    }

    fn complete(&mut self, into: &mut FileTally) {
        for waiting in std::mem::take(&mut self.waiting) {
            waiting.add_by_status(into);
        }
        into.note("k6 counts bytes of iterations, not of requests: they are in the total only");
        if self.has_requests {
            if self.has_other_requests {
                into.note("samples are k6's HTTP requests; those of gRPC, WebSockets or browsers are not counted");
            }
        } else if let Some(iterations) = self.iterations.take() {
            into.note("there are no HTTP requests among k6's points: samples are its iterations, and failures are unknown");
            into.take_samples(*iterations);
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

impl Waiting {
    fn add(&self, failed: Option<bool>, into: &mut FileTally) {
        into.add(&Sample {
            // k6 records the end of the request.
            start: Some(self.at.saturating_sub(self.elapsed)),
            elapsed: self.elapsed,
            errors: failed.map(u64::from),
            label: self.name.as_bytes(),
            code: self.code.as_bytes(),
            message: self.error.as_bytes(),
            is_dated_by_end: true,
            ..Sample::default()
        });
    }

    /// Adds a request without an outcome, judged by its status if there is one.
    fn add_by_status(&self, into: &mut FileTally) {
        let failed = (!self.status.is_empty()).then(|| !is_success(self.status.as_bytes()));
        self.add(failed, into);
    }
}

/// `--out csv`.
#[derive(Debug, Default)]
pub struct Csv {
    header: Header<6>,
    points: Points,
}

const COLUMNS: [&str; 6] = [
    "name",
    "status",
    "error",
    "error_code",
    "expected_response",
    "scenario",
];

impl Table for Csv {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        // This may also be the header of an appended file.
        if rows.get(0) == b"metric_name" {
            self.header = Header::default();
        }
        let Some(columns) = self.header.columns(rows, COLUMNS)? else {
            return Ok(());
        };
        let bad = |name, column| BadRow::value(name, rows.get(column));
        let metric = std::str::from_utf8(rows.get(0)).map_err(|_| bad("metric_name", 0))?;
        if !is_read(metric) {
            return Ok(());
        }
        let text = |column| String::from_utf8_lossy(rows.get(column));
        let [name, status, error, error_code, expected_response, scenario] = columns.map(text);
        let point = Point {
            metric,
            at: seconds(rows.get(1)).ok_or_else(|| bad("timestamp", 1))?,
            value: number(rows.get(2)).ok_or_else(|| bad("metric_value", 2))?,
            tags: Tags {
                name,
                status,
                error,
                error_code,
                expected_response,
                scenario,
            },
        };
        self.points.add(&point, into)
    }

    fn finish(&mut self, into: &mut FileTally) {
        self.points.complete(into);
        into.note(
            "times in k6's CSV are whole seconds: throughput and figures over time have this resolution",
        );
    }

    fn provisional(&self) -> Option<&FileTally> {
        self.points.iterations()
    }
}

/// Converts seconds since 1970, or times written with `K6_CSV_TIME_FORMAT`, to microseconds.
fn seconds(text: &[u8]) -> Option<u64> {
    let micros = match millis(text).filter(|_| text.len() < 16) {
        // Up to 11 digits are seconds; more are milli- or microseconds, 19 nanoseconds.
        Some(number) if text.len() <= 11 => number.checked_mul(1000)?,
        Some(number) if text.len() <= 14 => number,
        Some(number) => number / 1000,
        None if text.len() >= 16 && whole(text.get(..16)?).is_some() => whole(text.get(..16)?)?,
        None => rfc3339(std::str::from_utf8(text).ok()?)?,
    };
    (micros < LATEST).then_some(micros)
}

#[derive(Deserialize)]
struct JsonLine<'a> {
    metric: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
struct Data<'a> {
    time: Cow<'a, str>,
    value: f64,
    #[serde(borrow, default)]
    tags: Option<Tags<'a>>,
}

impl LineReader for Points {
    const ENDS_EVERY_LINE: bool = false;

    fn line(&mut self, line: &[u8], into: &mut FileTally) -> Result<(), BadRow> {
        let line = without_mark(line).trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let line: JsonLine<'_> = serde_json::from_slice(line).map_err(|_| BadRow::Malformed)?;
        if line.kind != "Point" || !is_read(&line.metric) {
            return Ok(());
        }
        let data: Data<'_> =
            serde_json::from_str(line.data.get()).map_err(|_| BadRow::Malformed)?;
        let time = || BadRow::value("time", data.time.as_bytes());
        let point = Point {
            metric: &line.metric,
            at: rfc3339(&data.time).ok_or_else(time)?,
            value: data.value,
            tags: data.tags.unwrap_or_default(),
        };
        self.add(&point, into)
    }

    fn finish(&mut self, into: &mut FileTally) {
        self.complete(into);
    }

    fn provisional(&self) -> Option<&FileTally> {
        self.iterations()
    }
}
