//! Vegeta's results as JSON or CSV from `vegeta encode`, and the summary of
//! `vegeta report -type json`. The module `vegeta_gob` decodes results as gob, which `vegeta attack` writes.
//!
//! The label of a request is the name of the attack (`-name`). Without one it is the method and the URL
//! without its query, which may differ in every request. As in Vegeta, a status outside 200-399 is
//! an error, and a request without a response has status 0.

use super::lines::LineReader;
use super::numbers::{EARLIEST, LATEST, digits, rfc3339, without_mark};
use super::rows::{Row, Rows};
use super::table::Table;
use super::{BadRow, Figures, FileTally, KnownFigures, PercentilePoint, Sample, Summary};
use super::{to_f64, to_u64};
use crate::errors::Errors;
use memchr::{memchr2, memmem, memrchr};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

const NANOS_PER_MICRO: u64 = 1000;

/// A request in any format.
#[derive(Debug, Default)]
pub struct Hit<'a> {
    /// The name of the attack; may be empty.
    pub attack: &'a [u8],
    pub method: &'a [u8],
    pub url: &'a [u8],
    pub code: u64,
    /// Start in microseconds since 1970.
    pub start: u64,
    /// Duration in nanoseconds.
    pub latency: u64,
    pub sent: u64,
    pub received: u64,
    pub error: &'a [u8],
}

impl Hit<'_> {
    /// Adds the request to the samples.
    ///
    /// # Errors
    /// If the timestamp is implausible.
    pub fn add(&self, into: &mut FileTally) -> Result<(), BadRow> {
        if !(EARLIEST..LATEST).contains(&self.start) {
            let start = self.start.to_string();
            return Err(BadRow::value("timestamp", start.as_bytes()));
        }
        let failed = is_failed(self.code);
        let code = match failed {
            true => self.code.to_string(),
            false => String::new(),
        };
        into.add(&Sample {
            start: Some(self.start),
            elapsed: micros(self.latency),
            label: &self.label(),
            errors: Some(u64::from(failed)),
            code: code.as_bytes(),
            message: if failed { self.error } else { b"" },
            received: self.received,
            sent: self.sent,
            ..Sample::default()
        });
        Ok(())
    }

    fn label(&self) -> Cow<'_, [u8]> {
        if !self.attack.is_empty() || self.url.is_empty() {
            return Cow::Borrowed(self.attack);
        }
        let mut label = [self.method, b" "].concat();
        push_address(self.url, &mut label);
        Cow::Owned(label)
    }
}

fn is_failed(code: u64) -> bool {
    !(200..400).contains(&code)
}

/// Removes the query and the credentials from a URL.
fn push_address(url: &[u8], into: &mut Vec<u8>) {
    let url = url.get(..memchr2(b'?', b'#', url).unwrap_or(url.len()));
    let url = url.unwrap_or_default();
    let scheme = memmem::find(url, b"://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at_checked(scheme).unwrap_or((b"", url));
    let host = memchr::memchr(b'/', rest).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(host).unwrap_or((rest, b""));
    let name = memrchr(b'@', host).map_or(0, |at| at + 1);
    into.extend_from_slice(scheme);
    into.extend_from_slice(host.get(name..).unwrap_or_default());
    into.extend_from_slice(path);
}

/// Converts nanoseconds to microseconds.
fn micros(nanos: u64) -> u64 {
    nanos.saturating_add(NANOS_PER_MICRO / 2) / NANOS_PER_MICRO
}

/// `vegeta encode -to json`: an object per line.
#[derive(Debug)]
pub struct Json;

#[derive(Deserialize)]
struct JsonHit<'a> {
    #[serde(borrow, default)]
    attack: Cow<'a, str>,
    code: u64,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    latency: u64,
    bytes_out: u64,
    bytes_in: u64,
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow, default)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    url: Cow<'a, str>,
}

impl LineReader for Json {
    const ENDS_EVERY_LINE: bool = false;

    fn line(&mut self, line: &[u8], into: &mut FileTally) -> Result<(), BadRow> {
        let line = without_mark(line).trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let hit: JsonHit<'_> = serde_json::from_slice(line).map_err(|_| BadRow::Malformed)?;
        let time = || BadRow::value("timestamp", hit.timestamp.as_bytes());
        let hit = Hit {
            attack: hit.attack.as_bytes(),
            method: hit.method.as_bytes(),
            url: hit.url.as_bytes(),
            code: hit.code,
            start: rfc3339(&hit.timestamp).ok_or_else(time)?,
            latency: hit.latency,
            sent: hit.bytes_out,
            received: hit.bytes_in,
            error: hit.error.as_bytes(),
        };
        hit.add(into)
    }
}

/// Number of columns of the CSV: since 12.8.0, since 8.0.0, and in 7.0.
const WIDTHS: [usize; 3] = [12, 9, 7];

/// True if a file starts like Vegeta's CSV; `whole`: `head` is the whole file.
pub fn is_csv(head: &[u8], whole: bool) -> bool {
    let mut rows = Rows::new(b',');
    rows.push(head);
    let first = match rows.next() {
        // The first row is longer than the examined part, and ends in a body.
        None if whole => {
            rows.end();
            rows.next()
        }
        first => first,
    };
    let is_cut = first == Some(Row::Fields) && !rows.terminated && rows.len() >= 7;
    first == Some(Row::Fields)
        && (WIDTHS.contains(&rows.len()) || is_cut)
        && rows.get(0).len() == 19
        && csv_hit(&rows).is_ok()
        && rows.get(1).len() <= 3
        && (rows.len() < 9 || digits(rows.get(8)).is_some() || is_cut)
}

/// `vegeta encode -to csv`: a table without a header.
#[derive(Debug, Default)]
pub struct Csv {
    /// The number of fields of the first row.
    width: Option<usize>,
}

impl Table for Csv {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let width = *self.width.get_or_insert(rows.len());
        if rows.len() != width {
            return Err(BadRow::Fields(rows.len(), width));
        }
        // Vegeta terminates every row: the last field of an unterminated one may be truncated.
        if !rows.terminated {
            return Err(BadRow::Malformed);
        }
        csv_hit(rows)?.add(into)
    }
}

fn csv_hit(rows: &Rows) -> Result<Hit<'_>, BadRow> {
    let number = |name, column| {
        let text = rows.get(column);
        digits(text).ok_or_else(|| BadRow::value(name, text))
    };
    Ok(Hit {
        attack: rows.get(7),
        method: rows.get(9),
        url: rows.get(10),
        code: number("code", 1)?,
        start: number("timestamp", 0)? / NANOS_PER_MICRO,
        latency: number("latency", 2)?,
        sent: number("bytes_out", 3)?,
        received: number("bytes_in", 4)?,
        error: rows.get(5),
    })
}

/// Times in nanoseconds.
#[derive(Deserialize)]
struct Report<'a> {
    latencies: Latencies,
    bytes_in: Bytes,
    bytes_out: Bytes,
    duration: f64,
    wait: f64,
    requests: u64,
    success: f64,
    status_codes: BTreeMap<String, u64>,
    #[serde(borrow, default)]
    errors: Option<Vec<Cow<'a, str>>>,
}

#[derive(Deserialize)]
struct Latencies {
    mean: Option<f64>,
    #[serde(rename = "50th")]
    p50: Option<f64>,
    #[serde(rename = "90th")]
    p90: Option<f64>,
    #[serde(rename = "95th")]
    p95: Option<f64>,
    #[serde(rename = "99th")]
    p99: Option<f64>,
    max: Option<f64>,
    min: Option<f64>,
}

#[derive(Deserialize)]
struct Bytes {
    total: Option<f64>,
}

impl Report<'_> {
    /// The duration from the first start to the last end.
    fn seconds(&self) -> f64 {
        (self.duration + self.wait) / 1e9
    }

    fn figures(&self) -> Figures {
        let millis = |nanos: Option<f64>| nanos.map(|nanos| nanos / 1e6);
        let (latencies, samples) = (&self.latencies, to_f64(self.requests));
        let failed = ((1.0 - self.success) * samples).round();
        let rate = (self.seconds() > 0.0).then(|| samples / self.seconds());
        let known = KnownFigures {
            samples: self.requests,
            errors: Some(to_u64(failed)),
            throughput: rate,
            min: millis(latencies.min),
            mean: millis(latencies.mean),
            p50: millis(latencies.p50),
            p90: millis(latencies.p90),
            p95: millis(latencies.p95),
            p99: millis(latencies.p99),
            max: millis(latencies.max),
            received: self.bytes_in.total,
            sent: self.bytes_out.total,
        };
        known.figures()
    }

    /// Errors by status; each with the first text that starts with it.
    fn add_errors(&self, errors: &mut Errors) {
        for (code, count) in &self.status_codes {
            if code.parse().is_ok_and(|code: u64| !is_failed(code)) {
                continue;
            }
            let mut texts = self.errors.iter().flatten();
            let message = match code.as_str() {
                "0" => "no response",
                code => texts
                    .find(|text| text.starts_with(code))
                    .map_or("", |text| text),
            };
            errors.add(code.as_bytes(), message.as_bytes(), *count);
        }
    }
}

/// Decodes `vegeta report -type json`.
pub fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let report: Report<'_> = serde_json::from_slice(text)
        .map_err(|error| format!("not a report of Vegeta, or not all of it: {error}"))?;
    if report.requests == 0 {
        return Ok(());
    }
    let total = report.figures();
    report.add_errors(&mut into.summary_errors);
    into.note("percentiles are Vegeta's own estimates; its report has no labels and no figures over time. `vegeta attack -output` or `vegeta encode` gives single samples");
    into.summarise(Summary {
        form: "vegeta",
        distribution: distribution(&total),
        duration: Some(report.seconds()),
        total,
        ..Summary::default()
    });
    Ok(())
}

/// The percentiles in a summary.
fn distribution(total: &Figures) -> Vec<PercentilePoint> {
    let points = [
        ("min", 0.0, total.min),
        ("p50", 50.0, total.p50),
        ("p90", 90.0, total.p90),
        ("p95", 95.0, total.p95),
        ("p99", 99.0, total.p99),
        ("max", 100.0, total.max),
    ];
    let known = |name: &str| total.missing.iter().all(|missing| missing != name);
    let points = points.into_iter().filter(|(name, ..)| known(name));
    points
        .map(|(_, percentile, millis)| PercentilePoint { percentile, millis })
        .collect()
}

/// Converts a latency of a gob, which is a signed number.
///
/// # Errors
/// If it is negative.
pub fn nanos(latency: i64) -> Result<u64, BadRow> {
    u64::try_from(latency).map_err(|_| BadRow::value("latency", latency.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_label_is_the_attack_or_the_address_without_its_query_and_secrets() {
        let label = |attack: &str, url: &str| {
            let hit = Hit {
                attack: attack.as_bytes(),
                method: b"GET",
                url: url.as_bytes(),
                ..Hit::default()
            };
            String::from_utf8(hit.label().into_owned()).unwrap()
        };
        for (attack, url, wanted) in [
            ("shop", "http://h/a", "shop"),
            ("", "http://h/a?id=7", "GET http://h/a"),
            ("", "http://h:80/a#b?c", "GET http://h:80/a"),
            ("", "http://me:secret@h/a@b", "GET http://h/a@b"),
            ("", "http://h", "GET http://h"),
            ("", "/only", "GET /only"),
            ("", "", ""),
        ] {
            assert_eq!(label(attack, url), wanted);
        }
    }

    #[test]
    fn other_tables_are_not_mistaken_for_those_of_vegeta() {
        let row = "1795877186301308996,200,7339833,0,13,,YQ==,shop,0\n";
        assert!(is_csv(row.as_bytes(), false));
        assert!(is_csv(
            b"1795877186301308996,200,7339833,0,13,,YQ==\n",
            false
        ));
        for text in [
            "1795877186301,200,7339833,0,13,,YQ==,shop,0\n",
            "1795877186301308996,200,7339833,0,13,,YQ==,shop\n",
            "1795877186301308996,200,7339833,0,13,,YQ==,shop,x\n",
            "1795877186301308996,OK,7339833,0,13,,YQ==,shop,0\n",
            "1795877186301308996,200,7339833,0,13,,YQ==,shop,0",
        ] {
            assert!(!is_csv(text.as_bytes(), false), "{text}");
        }
    }

    #[test]
    fn nanoseconds_are_rounded_to_the_nearest_microsecond() {
        assert_eq!([499, 500, 1_499].map(micros), [0, 1, 1]);
    }
}
