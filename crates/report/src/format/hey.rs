//! hey's output: one row per response with `-o csv`, else the printed summary.
//!
//! hey does not count a status as an error; here a status outside 200-399 is one, and so is a request without a response.

use super::jtl_csv::is_success;
use super::numbers::{digits, number, seconds_of};
use super::rows::Rows;
use super::table::{Header, Table};
use super::{BadRow, Figures, FileTally, KnownFigures, PercentilePoint};
use super::{Sample, Summary, to_f64, to_u64};
use crate::histogram::at_percentile;

/// The header of the CSV.
pub const HEADER: &str = "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read";
/// The used columns. Old versions lack the last two.
const COLUMNS: [&str; 3] = ["response-time", "status-code", "offset"];
/// Maximum number of responses in hey's CSV.
const MAX_ROWS: u64 = 1_000_000;

/// `hey -o csv`.
#[derive(Debug, Default)]
pub struct Csv {
    /// The number of columns, and the position of each of [`COLUMNS`].
    header: Header<3>,
}

impl Table for Csv {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let Some(columns) = self.header.columns(rows, COLUMNS)? else {
            return Ok(());
        };
        let sample = sample(rows, &columns)?;
        into.has_relative_times |= sample.start.is_some();
        into.add(&sample);
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.note("hey's CSV does not contain requests without a response (refused, timed out): no figure includes them");
        into.note("hey's CSV has times relative to the start of the test in steps of 0.1 ms, and no date, labels or bytes");
        if into.found.samples >= MAX_ROWS {
            into.note(format!(
                "hey's CSV has at most the first {MAX_ROWS} responses: no figure includes later ones"
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

/// Converts seconds in a row to microseconds. An unterminated row may lack digits.
///
/// # Errors
/// If the value is invalid.
pub fn seconds(rows: &Rows, name: &'static str, text: &[u8]) -> Result<u64, BadRow> {
    if !rows.terminated {
        return Err(BadRow::Malformed);
    }
    let seconds = number(text).and_then(seconds_of);
    seconds.ok_or_else(|| BadRow::value(name, text))
}

/// 1 if the status is an error, else 0.
///
/// # Errors
/// If the value is not a status.
pub fn failed(code: &[u8], name: &'static str) -> Result<u64, BadRow> {
    digits(code).ok_or_else(|| BadRow::value(name, code))?;
    Ok(u64::from(!is_success(code)))
}

/// True if a text starts like hey's summary.
pub fn is_summary(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.next() == Some(b"Summary:")
        && lines.next().is_some_and(|line| line.starts_with(b"Total:"))
        && lines
            .next()
            .is_some_and(|line| line.starts_with(b"Slowest:"))
}

/// The sections of a summary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Part {
    #[default]
    Summary,
    Latencies,
    Statuses,
    Errors,
    Other,
}

/// Parsed values; times in seconds.
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

    /// The number of requests computed from duration and rate, and its maximum error: both are rounded.
    fn by_rate(&self) -> Option<(f64, f64)> {
        let (total, rate) = (self.total?, self.rate?);
        Some((total * rate, 0.000_051 * (total + rate) + 0.5))
    }

    /// True if all sections are present, and the counts agree with the rate.
    fn is_whole(&self) -> bool {
        let counted = to_f64(self.samples());
        let is_counted = |(rate, off): (f64, f64)| (rate - counted).abs() <= off;
        self.has_statuses && (self.by_rate().is_some_and(is_counted) || self.is_capped())
    }

    /// True if there were more responses than hey keeps. Statuses and times then cover the first
    /// responses only, and the mean is the sum of all times divided by the number of the first ones.
    fn is_capped(&self) -> bool {
        let counted = to_f64(self.samples());
        let more = self.by_rate();
        self.responses() == MAX_ROWS && more.is_some_and(|(rate, off)| rate > counted + off)
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
        let known = KnownFigures {
            samples,
            errors: (!is_capped).then(|| self.failures()),
            throughput: self.rate,
            min: millis(self.fastest),
            mean: millis(self.average).filter(|_| !is_capped),
            max: millis(self.slowest),
            received: self.bytes,
            ..KnownFigures::of_percentiles(|wanted| at_percentile(&self.percentiles, wanted))
        };
        known.figures()
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

/// `50% in 0.0016 secs`, in 0.1.5 with two percent signs. Percentiles without a response are `0%`.
fn percentile(line: &str) -> Option<PercentilePoint> {
    let (percentile, rest) = line.split_once('%')?;
    let seconds = rest.trim_start_matches('%').trim_start();
    let seconds = seconds.strip_prefix("in ")?.strip_suffix(" secs")?;
    let percentile = number(percentile.as_bytes()).filter(|percentile| *percentile > 0.0)?;
    let millis = number(seconds.as_bytes())? * 1000.0;
    Some(PercentilePoint { percentile, millis })
}

/// Parses `[200]` and the rest of the line.
fn counted(line: &str) -> Option<(&str, &str)> {
    let (count, text) = line.strip_prefix('[')?.split_once(']')?;
    Some((count, text.trim()))
}

/// Decodes a summary.
pub fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
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
            "hey keeps at most {MAX_ROWS} responses, and this run has more: times and kinds of errors cover the first ones, and the number of samples is computed from the rounded rate"
        ));
    }
    into.note("times are hey's own, in steps of 0.1 ms, and cover requests with a response only; its summary has no labels and no figures over time");
    into.summarise(Summary {
        form: "hey",
        distribution: lines.percentiles,
        duration: lines.total,
        total,
        ..Summary::default()
    });
    Ok(())
}
