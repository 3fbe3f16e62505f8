//! oha's output: its summary in JSON, and a row per response in CSV.
//!
//! oha calls no status an error; here one outside 200-399 is one, as well as a request without a response.
//! Requests that were under way when the run ended are no errors of the server: they are not counted.

use super::hey::{failed, seconds};
use super::jtl_csv::is_success;
use super::known_figures::{KnownFigures, curve};
use super::numbers::whole as whole_number;
use super::rows::Rows;
use super::table::{self, Header, Table};
use super::{Decoder, whole};
use crate::file_tally::FileTally;
use crate::found::BadRow;
use crate::histogram::to_f64;
use crate::sample::Sample;
use crate::summary::Summary;
use atq_api_spec::report::{Figures, PercentilePoint};
use serde::Deserialize;
use std::collections::BTreeMap;

/// No summary is larger: it has an entry for each text of an error.
const LARGEST: usize = 16 * 1024 * 1024;
/// The error text of oha for requests that were under way at the end of the run.
const AT_DEADLINE: &str = "aborted due to deadline";
/// The columns of the CSV.
pub const HEADER: [&str; 7] = [
    "request-start",
    "DNS",
    "DNS+dialup",
    "Response-delay",
    "request-duration",
    "bytes",
    "status",
];

/// `--output-format csv`.
pub fn csv() -> Box<dyn Decoder> {
    table::decoder(b',', Csv::default())
}

#[derive(Debug, Default)]
struct Csv {
    /// How many there are, and where each of [`HEADER`] is.
    header: Header<7>,
}

impl Table for Csv {
    fn row(&mut self, rows: &Rows, into: &mut FileTally) -> Result<(), BadRow> {
        let find = |rows: &Rows| table::columns(rows, HEADER);
        let Some(columns) = self.header.columns(rows, find)? else {
            into.has_relative_times = true;
            return Ok(());
        };
        let [start, _, _, _, elapsed, bytes, code] = columns.map(|column| rows.get(column));
        into.add(&Sample {
            start: Some(seconds(rows, "request-start", start)?),
            elapsed: seconds(rows, "request-duration", elapsed)?,
            errors: Some(failed(code, "status")?),
            code,
            received: whole_number(bytes).ok_or_else(|| BadRow::value("bytes", bytes))?,
            ..Sample::default()
        });
        Ok(())
    }

    fn finish(&mut self, into: &mut FileTally) {
        into.note("oha's CSV leaves out requests without a response (refused, timed out): they are in none of the figures");
        into.note(
            "oha's CSV has times since the start of the test, and no date, labels or bytes sent",
        );
    }
}

/// `--output-format json`, before 1.9.0 `--json`.
pub fn json() -> Box<dyn Decoder> {
    whole::decoder(LARGEST, read)
}

/// Times are seconds.
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

    /// oha's own rate is of all requests.
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
        let told = KnownFigures {
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
        told.figures()
    }

    fn distribution(&self) -> Vec<PercentilePoint> {
        let named = self.latency_percentiles.iter();
        curve(named.filter_map(|(name, seconds)| {
            let percentile = name.strip_prefix('p')?.parse().ok()?;
            Some((percentile, seconds.map(|seconds| seconds * 1000.0)))
        }))
    }
}

fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let document: Document = serde_json::from_slice(text)
        .map_err(|error| format!("not a summary of oha, or not all of it: {error}"))?;
    for (code, text, count) in document.errors() {
        into.summary_errors
            .add(code.as_bytes(), text.as_bytes(), count);
    }
    let aborted = document.at_deadline();
    if aborted > 0 {
        into.note(format!(
            "oha ended {aborted} requests that were under way at the end of the run: they are not counted"
        ));
    }
    let total = document.figures();
    if total.samples == 0 {
        return Ok(());
    }
    into.note("times are oha's own, and of requests with a response only; its summary has no labels and no figures over time");
    into.summarise(Summary {
        form: "oha",
        distribution: document.distribution(),
        duration: document.summary.total,
        total,
        ..Summary::default()
    });
    Ok(())
}
