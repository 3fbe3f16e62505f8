//! ghz's output: a JSON document with ghz's own figures and, optionally, the details of
//! each call; and CSV.
//!
//! The label is the call, such as `shop.Shop.Buy`. As in ghz, a call that did not end with `OK` is an error.
//! The document is decoded as a stream, because it may have any number of details.

use super::lines::LineReader;
use super::members::{Members, Piece};
use super::numbers::{EARLIEST, LATEST, millis, rfc3339, without_mark};
use super::vegeta::nanos;
use super::{BadRow, Decoder, Figures, FileTally, KnownFigures, NamedFigures, PercentilePoint};
use super::{Sample, Summary, to_f64, to_u64};
use crate::histogram::at_percentile;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Maximum number of calls with details in ghz's output.
const MAX_DETAILS: u64 = 1_000_000;
/// The header of the CSV.
pub const HEADER: &str = "duration (ms),status,error";

/// `-O json` and `-O pretty`.
#[derive(Debug, Default)]
pub struct Json {
    members: Members,
    document: Document,
}

/// The content of a document without its details. Times in nanoseconds.
#[derive(Debug, Default)]
struct Document {
    options: Options,
    count: Option<f64>,
    total: Option<f64>,
    average: Option<f64>,
    fastest: Option<f64>,
    slowest: Option<f64>,
    rate: Option<f64>,
    errors: BTreeMap<String, u64>,
    statuses: BTreeMap<String, u64>,
    latencies: Vec<Latency>,
    /// Number of entries of the details.
    details: u64,
    /// The reason why a member cannot be read.
    wrong: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Options {
    #[serde(default)]
    call: String,
    #[serde(rename = "count-errors", default)]
    count_errors: bool,
}

#[derive(Debug, Deserialize)]
struct Latency {
    percentage: f64,
    latency: f64,
}

#[derive(Deserialize)]
struct Detail<'a> {
    /// End of the call.
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    latency: i64,
    #[serde(borrow, default)]
    error: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

impl Document {
    fn take(&mut self, piece: Piece<'_>, into: &mut FileTally) {
        match piece {
            Piece::Member(name, value) => self.member(name, value),
            // The options include the data of the calls, which may be long.
            Piece::LongMember(b"options") => into.note(
                "the options in ghz's document are too long to be read: the label is missing, and it is unknown if ghz's own figures include failed calls",
            ),
            Piece::LongMember(b"tags") => {}
            Piece::LongMember(name) => self.is_wrong(name),
            Piece::Entry(_) | Piece::LongEntry if self.has_too_many() => {}
            Piece::Entry(_) | Piece::LongEntry => {
                self.details += 1;
                let read = match piece {
                    Piece::Entry(entry) => self.detail(entry, into),
                    _ => Err(BadRow::Malformed),
                };
                into.found.record(self.details, read);
            }
        }
    }

    fn member(&mut self, name: &[u8], value: &[u8]) {
        let read = match name {
            b"options" => set(&mut self.options, value),
            b"count" => set(&mut self.count, value),
            b"total" => set(&mut self.total, value),
            b"average" => set(&mut self.average, value),
            b"fastest" => set(&mut self.fastest, value),
            b"slowest" => set(&mut self.slowest, value),
            b"rps" => set(&mut self.rate, value),
            b"errorDistribution" => set(&mut self.errors, value),
            b"statusCodeDistribution" => set(&mut self.statuses, value),
            b"latencyDistribution" => set(&mut self.latencies, value),
            _ => Some(()),
        };
        if read.is_none() {
            self.is_wrong(name);
        }
    }

    fn is_wrong(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name.get(..40).unwrap_or(name));
        self.wrong
            .get_or_insert_with(|| format!("its `{name}` cannot be read"));
    }

    /// True if there were more calls than ghz keeps the details of.
    fn has_too_many(&self) -> bool {
        self.count.is_some_and(|count| count > to_f64(MAX_DETAILS))
    }

    fn detail(&self, entry: &[u8], into: &mut FileTally) -> Result<(), BadRow> {
        let detail: Detail<'_> = serde_json::from_slice(entry).map_err(|_| BadRow::Malformed)?;
        let time = || BadRow::value("timestamp", detail.timestamp.as_bytes());
        let end = rfc3339(&detail.timestamp)
            .filter(|end| (EARLIEST..LATEST).contains(end))
            .ok_or_else(time)?;
        let elapsed = nanos(detail.latency)? / 1000;
        let failed = detail.status != "OK";
        into.add(&Sample {
            start: Some(end.saturating_sub(elapsed)),
            elapsed,
            label: self.options.call.as_bytes(),
            errors: Some(u64::from(failed)),
            code: detail.status.as_bytes(),
            message: detail.error.as_bytes(),
            ..Sample::default()
        });
        Ok(())
    }

    fn errors(&self, samples: u64) -> Option<u64> {
        let good = match self.statuses.get("OK") {
            Some(good) => *good,
            None if self.statuses.is_empty() => return None,
            None => 0,
        };
        Some(samples.saturating_sub(good))
    }

    fn points(&self) -> Vec<PercentilePoint> {
        let points = self.latencies.iter().map(|latency| PercentilePoint {
            percentile: latency.percentage,
            millis: latency.latency / 1e6,
        });
        points.collect()
    }

    fn figures(&self) -> Figures {
        let count = self.count.filter(|count| *count >= 0.0);
        let samples = to_u64(count.unwrap_or_default());
        let errors = self.errors(samples);
        let timed = match (self.options.count_errors, errors) {
            (false, Some(errors)) => samples.saturating_sub(errors),
            _ => samples,
        };
        let millis = |nanos: Option<f64>| nanos.filter(|_| timed > 0).map(|nanos| nanos / 1e6);
        let points = self.points();
        let percentile = |wanted| at_percentile(&points, wanted).filter(|_| timed > 0);
        let known = KnownFigures {
            samples,
            errors,
            throughput: self.rate,
            min: millis(self.fastest),
            mean: self.average.map(|nanos| nanos / 1e6),
            max: millis(self.slowest),
            ..KnownFigures::of_percentiles(percentile)
        };
        let mut figures = known.figures();
        if count.is_none() {
            figures.missing.insert(0, "samples".to_owned());
        }
        figures
    }

    fn summary(self, into: &mut FileTally) {
        let total = self.figures();
        for (text, count) in &self.errors {
            into.summary_errors
                .add(code(text).as_bytes(), text.as_bytes(), *count);
        }
        if total.samples == 0 {
            return;
        }
        if total.errors > 0 && !self.options.count_errors {
            into.note("percentiles, minimum and maximum are ghz's own and cover successful calls only; the mean covers all calls");
        } else {
            into.note("percentiles are ghz's own");
        }
        into.summarise(Summary {
            form: "ghz",
            labels: vec![NamedFigures {
                name: self.options.call.clone(),
                figures: total.clone(),
            }],
            distribution: self.points(),
            duration: self.total.map(|nanos| nanos / 1e9),
            total,
            ..Summary::default()
        });
    }
}

/// An optional value; `None` if it has another type.
fn set<T: DeserializeOwned>(into: &mut T, value: &[u8]) -> Option<()> {
    if let Some(value) = serde_json::from_slice::<Option<T>>(value).ok()? {
        *into = value;
    }
    Some(())
}

/// Extracts `Internal` from `rpc error: code = Internal desc = ...`.
fn code(text: &str) -> &str {
    let code = text.split_once("code = ").map_or("", |(_, code)| code);
    code.split_once(' ').map_or(code, |(code, _)| code)
}

impl Decoder for Json {
    fn push(&mut self, bytes: &[u8], into: &mut FileTally) {
        let document = &mut self.document;
        self.members.push(bytes, |piece| document.take(piece, into));
    }

    fn finish(&mut self, into: &mut FileTally) {
        let document = std::mem::take(&mut self.document);
        let details = document.details;
        let count = document.count.map(to_u64);
        into.found.wrong = if !self.members.is_complete {
            let within = if self.members.is_in_entry() {
                "within a detail"
            } else {
                "before the end of its document"
            };
            Some(format!("it is truncated {within}, after {details} details"))
        } else if self.members.has_more {
            Some("its document is followed by more content, which was not read".to_owned())
        } else if let Some(wrong) = document.wrong.clone() {
            Some(wrong)
        } else if details > 0 && count.is_some_and(|count| count != details) {
            let count = count.unwrap_or_default();
            Some(format!("it has details of {details} of its {count} calls"))
        } else {
            None
        };
        if document.has_too_many() {
            into.note(format!(
                "ghz keeps the details of at most {MAX_DETAILS} calls, and this run has more: ghz's own figures are used, whose percentiles cover these calls"
            ));
        }
        if details == 0 && self.members.is_complete {
            document.summary(into);
        }
    }
}

/// `-O csv`. ghz does not quote error texts: they extend to the end of the line, with any content.
#[derive(Debug)]
pub struct Csv;

impl LineReader for Csv {
    const ENDS_EVERY_LINE: bool = true;

    fn line(&mut self, line: &[u8], into: &mut FileTally) -> Result<(), BadRow> {
        let line = without_mark(line).trim_ascii_end();
        let mut fields = line.splitn(3, |byte| *byte == b',');
        let [elapsed, status, error] = [(); 3].map(|()| fields.next());
        if line.is_empty() || elapsed == Some(&b"duration (ms)"[..]) {
            return Ok(());
        }
        let (Some(elapsed), Some(status), Some(error)) = (elapsed, status, error) else {
            return Err(BadRow::Malformed);
        };
        into.add(&Sample {
            elapsed: millis(elapsed).ok_or_else(|| BadRow::value("duration (ms)", elapsed))?,
            errors: Some(u64::from(status != b"OK")),
            code: status,
            message: error,
            ..Sample::default()
        });
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.note("ghz's CSV has no dates, labels or bytes; `-O json` has dates and the call");
    }
}
