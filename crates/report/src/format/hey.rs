//! hey's output: a row per response of `-o csv`, and the summary that it prints otherwise.
//!
//! hey calls no status an error; here one outside 200-399 is one, as well as a request without a response.

use super::jtl_csv::is_success;
use super::known_figures::{KnownFigures, at_percentile};
use super::numbers::{digits, number, seconds_of};
use super::rows::Rows;
use super::table::{self, Header, Table};
use super::{Decoder, whole};
use crate::file_tally::FileTally;
use crate::found::BadRow;
use crate::histogram::{to_f64, to_u64};
use crate::sample::Sample;
use crate::summary::Summary;
use atq_api_spec::report::{Figures, PercentilePoint};

/// No summary is larger: it has a line for each text of an error.
const LARGEST: usize = 16 * 1024 * 1024;
/// What the CSV begins with.
pub const HEADER: [&str; 6] = [
    "response-time",
    "DNS+dialup",
    "DNS",
    "Request-write",
    "Response-delay",
    "Response-read",
];
/// The columns that are read. Old versions lack the last two.
const COLUMNS: [&str; 3] = ["response-time", "status-code", "offset"];
/// hey keeps no more responses for its CSV.
const MOST_ROWS: u64 = 1_000_000;

/// `hey -o csv`.
pub fn csv() -> Box<dyn Decoder> {
    table::decoder(b',', Csv::default())
}

#[derive(Debug, Default)]
struct Csv {
    /// How many there are, and where each of [`COLUMNS`] is.
    header: Header<3>,
}

impl Table for Csv {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let find = |rows: &Rows| table::columns(rows, COLUMNS);
        let Some(columns) = self.header.columns(rows, find)? else {
            return Ok(());
        };
        let sample = sample(rows, &columns)?;
        into.has_relative_times |= sample.start.is_some();
        into.add(&sample);
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.note("hey's CSV leaves out requests without a response (refused, timed out): they are in none of the figures");
        into.note("hey's CSV has times in steps of 0.1 ms since the start of the test, and no date, labels or bytes");
        if into.found.samples >= MOST_ROWS {
            into.note(format!(
                "hey's CSV holds the first {MOST_ROWS} responses at most: later ones are in none of the figures"
            ));
        }
    }
}

fn sample<'a>(rows: &'a Rows, columns: &[usize; 3]) -> Result<Sample<'a>, BadRow> {
    let [elapsed, code, offset] = columns.map(|column| rows.get(column));
    Ok(Sample {
        start: match columns[2] {
            usize::MAX => None,
            _ => Some(seconds(rows, "offset", offset)?),
        },
        elapsed: seconds(rows, "response-time", elapsed)?,
        errors: match columns[1] {
            usize::MAX => None,
            _ => Some(failed(code, "status-code")?),
        },
        code,
        ..Sample::default()
    })
}

/// Seconds in a row as microseconds. A row without the end of its line may lack digits.
///
/// # Errors
/// When it is not sound.
pub fn seconds(rows: &Rows, name: &'static str, text: &[u8]) -> Result<u64, BadRow> {
    if !rows.terminated() {
        return Err(BadRow::Malformed);
    }
    let seconds = number(text).and_then(seconds_of);
    seconds.ok_or_else(|| BadRow::value(name, text))
}

/// One when a status is an error.
///
/// # Errors
/// When it is none.
pub fn failed(code: &[u8], name: &'static str) -> Result<u64, BadRow> {
    digits(code).ok_or_else(|| BadRow::value(name, code))?;
    Ok(u64::from(!is_success(code)))
}

/// What hey prints.
pub fn summary() -> Box<dyn Decoder> {
    whole::decoder(LARGEST, read)
}

/// Whether a text begins like hey's summary.
pub fn is_summary(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.next() == Some(b"Summary:")
        && lines.next().is_some_and(|line| line.starts_with(b"Total:"))
        && lines
            .next()
            .is_some_and(|line| line.starts_with(b"Slowest:"))
}

/// The parts of a summary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Part {
    #[default]
    Summary,
    Latencies,
    Statuses,
    Errors,
    Other,
}

/// What the lines tell; times are seconds.
#[derive(Debug, Default)]
struct Lines {
    part: Part,
    total: Option<f64>,
    slowest: Option<f64>,
    fastest: Option<f64>,
    average: Option<f64>,
    rate: Option<f64>,
    bytes: Option<f64>,
    percentiles: Vec<PercentilePoint>,
    statuses: Vec<(String, u64)>,
    errors: Vec<(String, u64)>,
    has_statuses: bool,
}

impl Lines {
    fn take(&mut self, line: &str) {
        let line = line.trim();
        if let Some(part) = part(line) {
            self.part = part;
            self.has_statuses |= part == Part::Statuses;
            return;
        }
        match self.part {
            Part::Summary => self.figure(line),
            Part::Latencies => self.percentiles.extend(percentile(line)),
            Part::Statuses => self.statuses.extend(counted(line).and_then(|(code, rest)| {
                let count = rest.split(' ').next()?.parse().ok()?;
                Some((code.to_owned(), count))
            })),
            Part::Errors => self.errors.extend(
                counted(line)
                    .and_then(|(count, text)| Some((text.to_owned(), count.parse().ok()?))),
            ),
            Part::Other => {}
        }
    }

    fn figure(&mut self, line: &str) {
        let Some((name, value)) = line.split_once(':') else {
            return;
        };
        let value = value.split_ascii_whitespace().next();
        let value = value.and_then(|value| number(value.as_bytes()));
        match name {
            "Total" => self.total = value,
            "Slowest" => self.slowest = value,
            "Fastest" => self.fastest = value,
            "Average" => self.average = value,
            "Requests/sec" => self.rate = value,
            "Total data" => self.bytes = value,
            _ => {}
        }
    }

    fn responses(&self) -> u64 {
        sum(&self.statuses)
    }

    fn samples(&self) -> u64 {
        self.responses().saturating_add(sum(&self.errors))
    }

    fn failures(&self) -> u64 {
        let failed = self.statuses.iter();
        let failed = failed.filter(|(code, _)| !is_success(code.as_bytes()));
        let failed = failed.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        failed.saturating_add(sum(&self.errors))
    }

    /// How many requests there were by duration and rate, and how far it may be off: both are rounded.
    fn by_rate(&self) -> Option<(f64, f64)> {
        let (total, rate) = (self.total?, self.rate?);
        Some((total * rate, 0.000_051 * (total + rate) + 0.5))
    }

    /// Whether all parts are there, and the counts are those of the rate.
    fn is_whole(&self) -> bool {
        let counted = to_f64(self.samples());
        let is_counted = |(rate, off): (f64, f64)| (rate - counted).abs() <= off;
        self.has_statuses && (self.by_rate().is_some_and(is_counted) || self.is_capped())
    }

    /// Whether there were more responses than hey keeps. It then has the statuses and times of the first
    /// ones only, and its mean is the sum of all times by the number of the first ones.
    fn is_capped(&self) -> bool {
        let counted = to_f64(self.samples());
        let more = self.by_rate();
        self.responses() == MOST_ROWS && more.is_some_and(|(rate, off)| rate > counted + off)
    }

    fn figures(&self) -> Figures {
        let is_capped = self.is_capped();
        let by_rate = self.by_rate().filter(|_| is_capped);
        let samples = by_rate.map_or(self.samples(), |(rate, _)| to_u64(rate.round()));
        let millis = |seconds: Option<f64>| {
            seconds
                .filter(|_| self.responses() > 0)
                .map(|seconds| seconds * 1000.0)
        };
        let percentile = |wanted: f64| at_percentile(&self.percentiles, wanted);
        let told = KnownFigures {
            samples,
            errors: (!is_capped).then(|| self.failures()),
            throughput: self.rate,
            min: millis(self.fastest),
            mean: millis(self.average).filter(|_| !is_capped),
            p50: percentile(50.0),
            p90: percentile(90.0),
            p95: percentile(95.0),
            p99: percentile(99.0),
            max: millis(self.slowest),
            received: self.bytes,
            sent: None,
        };
        told.figures()
    }
}

fn sum(counts: &[(String, u64)]) -> u64 {
    let counts = counts.iter();
    counts.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

fn part(line: &str) -> Option<Part> {
    Some(match line {
        "Summary:" => Part::Summary,
        "Latency distribution:" => Part::Latencies,
        "Status code distribution:" => Part::Statuses,
        "Error distribution:" => Part::Errors,
        "Response time histogram:" => Part::Other,
        _ if line.starts_with("Details (") => Part::Other,
        _ => return None,
    })
}

/// `50% in 0.0016 secs`, in 0.1.5 with two percent signs. One that the responses do not reach is `0%`.
fn percentile(line: &str) -> Option<PercentilePoint> {
    let (percentile, rest) = line.split_once('%')?;
    let seconds = rest.trim_start_matches('%').trim_start();
    let seconds = seconds.strip_prefix("in ")?.strip_suffix(" secs")?;
    let percentile = number(percentile.as_bytes()).filter(|percentile| *percentile > 0.0)?;
    let millis = number(seconds.as_bytes())? * 1000.0;
    Some(PercentilePoint { percentile, millis })
}

/// `[200]` and what follows it.
fn counted(line: &str) -> Option<(&str, &str)> {
    let (count, text) = line.strip_prefix('[')?.split_once(']')?;
    Some((count, text.trim()))
}

fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let text = String::from_utf8_lossy(text);
    let mut lines = Lines::default();
    text.lines().for_each(|line| lines.take(line));
    if !text.ends_with('\n') || !lines.is_whole() {
        return Err("it ends early: its counts are not those of all requests".to_owned());
    }
    let total = lines.figures();
    for (code, count) in &lines.statuses {
        if !is_success(code.as_bytes()) {
            into.summary_errors.add(code.as_bytes(), b"", *count);
        }
    }
    for (text, count) in &lines.errors {
        into.summary_errors.add(b"", text.as_bytes(), *count);
    }
    if total.samples == 0 {
        return Ok(());
    }
    if lines.is_capped() {
        into.note(format!(
            "hey keeps {MOST_ROWS} responses at most, and this run has more: times and kinds of errors are those of the first ones, and the number of samples is that of the rate, which is rounded"
        ));
    }
    into.note("times are hey's own, in steps of 0.1 ms, and of requests with a response only; its summary has no labels and no figures over time");
    into.summarise(Summary {
        form: "hey",
        distribution: lines.percentiles,
        duration: lines.total,
        total,
        ..Summary::default()
    });
    Ok(())
}
