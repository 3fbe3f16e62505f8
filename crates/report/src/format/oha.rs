//! oha's output: its summary as JSON, and one row per response as CSV.
//!
//! oha does not count a status as an error; here a status outside 200-399 is one, and so is a request without a response.
//! Requests that were in progress at the end of the run are not errors of the server: they are not counted.

use super::hey::{failed, seconds};
use super::jtl_csv::is_success;
use super::numbers::whole;
use super::rows::Rows;
use super::table::{Header, Table};
use super::{BadRow, Figures, FileTally, KnownFigures, PercentilePoint, Sample, Summary, to_f64};
use crate::histogram::curve;
use serde::Deserialize;
use std::collections::BTreeMap;

/// oha's error text for requests that were in progress at the end of the run.
const AT_DEADLINE: &str = "aborted due to deadline";
/// The header of the CSV.
pub const HEADER: &str =
    "request-start,DNS,DNS+dialup,Response-delay,request-duration,bytes,status";
/// The used columns.
const COLUMNS: [&str; 4] = ["request-start", "request-duration", "bytes", "status"];

/// `--output-format csv`.
#[derive(Debug, Default)]
pub struct Csv {
    header: Header<4>,
}

impl Table for Csv {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let Some(columns) = self.header.columns(rows, COLUMNS)? else {
            into.has_relative_times = true;
            return Ok(());
        };
        let [start, elapsed, bytes, code] = columns.map(|column| rows.get(column));
        into.add(&Sample {
            start: Some(seconds(rows, "request-start", start)?),
            elapsed: seconds(rows, "request-duration", elapsed)?,
            errors: Some(failed(code, "status")?),
            code,
            received: whole(bytes).ok_or_else(|| BadRow::value("bytes", bytes))?,
            ..Sample::default()
        });
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.note("oha's CSV does not contain requests without a response (refused, timed out): no figure includes them");
        into.note(
            "oha's CSV has times relative to the start of the test, and no date, labels or bytes sent",
        );
    }
}

/// Times in seconds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    summary: Sums,
    latency_percentiles: BTreeMap<String, Option<f64>>,
    status_code_distribution: BTreeMap<String, u64>,
    #[serde(default)]
    error_distribution: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sums {
    total: Option<f64>,
    slowest: Option<f64>,
    fastest: Option<f64>,
    average: Option<f64>,
    requests_per_sec: Option<f64>,
    total_data: Option<f64>,
}

impl Document {
    fn at_deadline(&self) -> u64 {
        let found = self.error_distribution.get(AT_DEADLINE);
        found.copied().unwrap_or_default()
    }

    /// Errors by status and by text.
    fn errors(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        let codes = self.status_code_distribution.iter();
        let codes = codes.filter(|(code, _)| !is_success(code.as_bytes()));
        let texts = self.error_distribution.iter();
        let texts = texts.filter(|(text, _)| *text != AT_DEADLINE);
        let codes = codes.map(|(code, count)| (code.as_str(), "", *count));
        codes.chain(texts.map(|(text, count)| ("", text.as_str(), *count)))
    }

    fn samples(&self) -> u64 {
        let codes = self.status_code_distribution.values();
        let counts = codes.chain(self.error_distribution.values());
        let all = counts.fold(0_u64, |sum, count| sum.saturating_add(*count));
        all.saturating_sub(self.at_deadline())
    }

    /// oha's own rate includes all requests.
    fn rate(&self, samples: u64) -> Option<f64> {
        if self.at_deadline() == 0 {
            return self.summary.requests_per_sec;
        }
        let seconds = self.summary.total.filter(|seconds| *seconds > 0.0)?;
        Some(to_f64(samples) / seconds)
    }

    fn figures(&self) -> Figures {
        let samples = self.samples();
        let errors = self.errors();
        let errors = errors.fold(0_u64, |sum, (_, _, count)| sum.saturating_add(count));
        let millis = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1000.0);
        let percentile = |name: &str| millis(self.latency_percentiles.get(name).copied().flatten());
        let known = KnownFigures {
            samples,
            errors: Some(errors),
            throughput: self.rate(samples),
            min: millis(self.summary.fastest),
            mean: millis(self.summary.average),
            p50: percentile("p50"),
            p90: percentile("p90"),
            p95: percentile("p95"),
            p99: percentile("p99"),
            max: millis(self.summary.slowest),
            received: self.summary.total_data,
            sent: None,
        };
        known.figures()
    }

    fn distribution(&self) -> Vec<PercentilePoint> {
        let named = self.latency_percentiles.iter();
        curve(named.filter_map(|(name, seconds)| {
            let percentile = name.strip_prefix('p')?.parse().ok()?;
            Some((percentile, seconds.map(|seconds| seconds * 1000.0)))
        }))
    }
}

/// Decodes `--output-format json`, before 1.9.0 `--json`.
pub fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let document: Document = serde_json::from_slice(text)
        .map_err(|error| format!("not a summary of oha, or not all of it: {error}"))?;
    for (code, text, count) in document.errors() {
        into.summary_errors
            .add(code.as_bytes(), text.as_bytes(), count);
    }
    let aborted = document.at_deadline();
    if aborted > 0 {
        into.note(format!(
            "oha aborted {aborted} requests that were in progress at the end of the run: they are not counted"
        ));
    }
    let total = document.figures();
    if total.samples == 0 {
        return Ok(());
    }
    into.note("times are oha's own and cover requests with a response only; its summary has no labels and no figures over time");
    into.summarise(Summary {
        form: "oha",
        distribution: document.distribution(),
        duration: document.summary.total,
        total,
        ..Summary::default()
    });
    Ok(())
}
