//! `statistics.json` of JMeter's HTML dashboard: the figures of each label, and `Total`.

use super::Decoder;
use super::known_figures::KnownFigures;
use super::whole::{self, LARGEST, number_or_none};
use crate::file_tally::FileTally;
use crate::histogram::to_f64;
use crate::summary::{JMETER_DASHBOARD, Summary};
use atq_api_spec::report::{Figures, PercentilePoint};
use serde::Deserialize;

/// The entry that sums up the others.
const TOTAL: &str = "Total";

/// A file of this format.
pub fn decoder() -> Box<dyn Decoder> {
    whole::decoder(LARGEST, read)
}

/// Times are in milliseconds, rates by the second.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    sample_count: u64,
    error_count: u64,
    #[serde(default, deserialize_with = "number_or_none")]
    mean_res_time: Option<f64>,
    /// Since JMeter 5.2.
    #[serde(default, deserialize_with = "number_or_none")]
    median_res_time: Option<f64>,
    #[serde(default, deserialize_with = "number_or_none")]
    min_res_time: Option<f64>,
    #[serde(default, deserialize_with = "number_or_none")]
    max_res_time: Option<f64>,
    #[serde(default, deserialize_with = "number_or_none")]
    pct1_res_time: Option<f64>,
    #[serde(default, deserialize_with = "number_or_none")]
    pct2_res_time: Option<f64>,
    #[serde(default, deserialize_with = "number_or_none")]
    pct3_res_time: Option<f64>,
    #[serde(default, deserialize_with = "number_or_none")]
    throughput: Option<f64>,
    #[serde(
        rename = "receivedKBytesPerSec",
        default,
        deserialize_with = "number_or_none"
    )]
    received: Option<f64>,
    #[serde(
        rename = "sentKBytesPerSec",
        default,
        deserialize_with = "number_or_none"
    )]
    sent: Option<f64>,
}

fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let mut summary = Summary {
        form: JMETER_DASHBOARD,
        worker: into.worker().to_owned(),
        ..Summary::default()
    };
    let mut total = None;
    whole::each_named(text, |name, statistics: Statistics| {
        if name == TOTAL {
            total = Some(statistics);
        } else if statistics.sample_count > 0 {
            summary.add_label(name, statistics.figures());
        }
    })
    .map_err(|error| format!("not the statistics of JMeter's dashboard: {error}"))?;
    let total = total.ok_or("it has no `Total`")?;
    summary.total = total.figures();
    summary.distribution = total.distribution();
    summary.duration = total.seconds();
    into.note(
        "the figures are those of JMeter's dashboard: its total leaves out transactions and counts parts of requests (redirects, embedded resources)",
    );
    into.note(
        "the dashboard does not name its percentiles: they are taken as 90, 95 and 99, which are JMeter's defaults (`aggregate_rpt_pct1` to `aggregate_rpt_pct3`)",
    );
    into.found.samples = summary.total.samples;
    if summary.total.samples > 0 {
        into.summary = Some(summary);
    }
    Ok(())
}

impl Statistics {
    /// From the first start to the last end, which JMeter divides by.
    fn seconds(&self) -> Option<f64> {
        let rate = self.throughput.filter(|rate| *rate > 0.0)?;
        Some(to_f64(self.sample_count) / rate)
    }

    fn figures(&self) -> Figures {
        // All digits of the rates are there, so that the bytes are exact.
        let bytes = |rate: Option<f64>| Some(rate? * 1024.0 * self.seconds()?);
        let told = KnownFigures {
            samples: self.sample_count,
            errors: Some(self.error_count),
            throughput: self.throughput,
            min: self.min_res_time,
            mean: self.mean_res_time,
            p50: self.median_res_time,
            p90: self.pct1_res_time,
            p95: self.pct2_res_time,
            p99: self.pct3_res_time,
            max: self.max_res_time,
            received: bytes(self.received),
            sent: bytes(self.sent),
        };
        told.figures()
    }

    fn distribution(&self) -> Vec<PercentilePoint> {
        let points = [
            (0.0, self.min_res_time),
            (50.0, self.median_res_time),
            (90.0, self.pct1_res_time),
            (95.0, self.pct2_res_time),
            (99.0, self.pct3_res_time),
            (100.0, self.max_res_time),
        ];
        let points = points.into_iter().filter_map(|(percentile, millis)| {
            Some(PercentilePoint {
                percentile,
                millis: millis?,
            })
        });
        points.collect()
    }
}
