//! k6's single points: `--out csv` and `--out json`. A request is its `http_req_duration`.

use super::jtl_csv::is_success;
use super::numbers::{micros, millis, number};
use super::rows::{Row, Rows};
use super::{File, Found};
use crate::histogram::to_u64;
use crate::sample::Sample;
use crate::tally::Tally;
use serde::Deserialize;
use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const BUFFER: usize = 1024 * 1024;

/// A point of either form.
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
}

/// Adds what a point says; gives whether it is a sample.
fn add(point: &Point<'_>, worker: &str, tally: &mut Tally) -> bool {
    let value = to_u64(point.value);
    match point.metric {
        "http_req_duration" => {
            let elapsed = to_u64((point.value * 1000.0).round());
            tally.add(&request(point, elapsed, worker));
            return true;
        }
        // Data is told per iteration, for all its requests together.
        "data_received" => tally.extra_received = tally.extra_received.saturating_add(value),
        "data_sent" => tally.extra_sent = tally.extra_sent.saturating_add(value),
        "vus" => tally.active(
            point.at,
            worker.as_bytes(),
            u32::try_from(value).unwrap_or(u32::MAX),
        ),
        _ => {}
    }
    false
}

fn request<'a>(point: &'a Point<'_>, elapsed: u64, worker: &'a str) -> Sample<'a> {
    let tags = &point.tags;
    let status = if tags.status == "0" {
        &tags.error_code
    } else {
        &tags.status
    };
    Sample {
        // k6 tells when the request ended.
        start: point.at.saturating_sub(elapsed),
        elapsed,
        label: tags.name.as_bytes(),
        ok: match tags.expected_response.as_ref() {
            "true" => true,
            // Without the tag, which can be switched off, the status is all there is.
            "" => is_success(tags.status.as_bytes()),
            _ => false,
        },
        code: status.as_bytes(),
        message: tags.error.as_bytes(),
        worker: worker.as_bytes(),
        ..Sample::default()
    }
}

fn note(tally: &mut Tally) {
    tally.note("k6 tells bytes of iterations, not of requests: they are in the total only");
}

/// `--out csv`.
pub fn csv(
    file: &File<'_>,
    reader: impl Read,
    tally: &mut Tally,
    found: &mut Found,
) -> io::Result<()> {
    let mut rows = Rows::new(reader);
    rows.next()?;
    let count = rows.len();
    let names = ["name", "status", "error", "error_code", "expected_response"];
    let columns = names.map(|name| {
        let found = rows.fields().position(|field| field == name.as_bytes());
        found.unwrap_or(usize::MAX)
    });
    loop {
        match rows.next()? {
            Row::End => break,
            Row::Fields if rows.len() == count => {
                if let Some(point) = csv_point(&rows, &columns) {
                    found.samples += u64::from(add(&point, file.worker, tally));
                    continue;
                }
            }
            _ => {}
        }
        found.bad_row(rows.number(), !rows.terminated());
    }
    note(tally);
    tally.note(
        "times in k6's CSV are whole seconds: throughput and figures over time are as coarse",
    );
    Ok(())
}

fn csv_point<'a, R: Read>(rows: &'a Rows<R>, columns: &[usize; 5]) -> Option<Point<'a>> {
    let text = |column| String::from_utf8_lossy(rows.get(column));
    let [name, status, error, error_code, expected_response] = columns.map(text);
    Some(Point {
        metric: std::str::from_utf8(rows.get(0)).ok()?,
        at: seconds(rows.get(1))?,
        value: number(rows.get(2)).filter(|value| (0.0..1e14).contains(value))?,
        tags: Tags {
            name,
            status,
            error,
            error_code,
            expected_response,
        },
    })
}

/// Seconds since 1970 as microseconds, or what k6 writes with `K6_CSV_TIME_FORMAT`.
fn seconds(text: &[u8]) -> Option<u64> {
    let micros = match millis(text) {
        // 11 digits are seconds for some thousand years; more are milli- and microseconds, 19 nanoseconds.
        Some(number) if text.len() <= 11 => number.checked_mul(1000)?,
        Some(number) if text.len() <= 14 => number,
        Some(number) => number / 1000,
        None if text.len() == 19 && text.is_ascii() => super::numbers::whole(text.get(..16)?)?,
        None => rfc3339(std::str::from_utf8(text).ok()?)?,
    };
    (micros < super::numbers::LATEST).then_some(micros)
}

fn rfc3339(text: &str) -> Option<u64> {
    micros(OffsetDateTime::parse(text, &Rfc3339).ok()?)
}

#[derive(Deserialize)]
struct Line<'a> {
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

/// `--out json`: an object in each line.
pub fn json(
    file: &File<'_>,
    reader: impl Read,
    tally: &mut Tally,
    found: &mut Found,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        // A line longer than the buffer is no point.
        if reader
            .by_ref()
            .take(BUFFER as u64)
            .read_until(b'\n', &mut line)?
            == 0
        {
            break;
        }
        number += 1;
        match json_line(&line, file.worker, tally) {
            Some(sample) => found.samples += u64::from(sample),
            None => found.bad_row(number, line.last() != Some(&b'\n') && line.len() < BUFFER),
        }
    }
    note(tally);
    Ok(())
}

/// Whether the line is a sample; none when it cannot be read.
fn json_line(line: &[u8], worker: &str, tally: &mut Tally) -> Option<bool> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Some(false);
    }
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    if line.kind != "Point" {
        return Some(false);
    }
    let data: Data<'_> = serde_json::from_str(line.data.get()).ok()?;
    let point = Point {
        metric: &line.metric,
        at: rfc3339(&data.time)?,
        value: Some(data.value).filter(|value| (0.0..1e14).contains(value))?,
        tags: data.tags.unwrap_or_default(),
    };
    Some(add(&point, worker, tally))
}
