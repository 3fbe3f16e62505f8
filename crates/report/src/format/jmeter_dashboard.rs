//! `statistics.json` of JMeter's HTML dashboard: the figures of each label, and `Total`.

use super::whole::{self, Number};
use super::{Figures, FileTally, KnownFigures, PercentilePoint, Summary, to_f64};
use crate::histogram::curve;
use crate::summary::JMETER_DASHBOARD;
use serde::Deserialize;

/// The entry with the totals.
const TOTAL: &str = "Total";

/// Times in milliseconds, rates per second.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    sample_count: u64,
    error_count: u64,
    mean_res_time: Number,
    /// Since JMeter 5.2.
    median_res_time: Number,
    min_res_time: Number,
    max_res_time: Number,
    pct1_res_time: Number,
    pct2_res_time: Number,
    pct3_res_time: Number,
    throughput: Number,
    #[serde(rename = "receivedKBytesPerSec")]
    received: Number,
    #[serde(rename = "sentKBytesPerSec")]
    sent: Number,
}

/// Decodes the figures.
pub fn read(text: &[u8], into: &mut FileTally) -> Result<(), String> {
    let mut summary = Summary {
        form: JMETER_DASHBOARD,
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
        "the figures are those of JMeter's dashboard: its total excludes transactions and includes parts of requests (redirects, embedded resources)",
    );
    into.note(
        "the dashboard does not name its percentiles: 90, 95 and 99 are assumed, which are JMeter's defaults (`aggregate_rpt_pct1` to `aggregate_rpt_pct3`)",
    );
    into.summarise(summary);
    Ok(())
}

impl Statistics {
    /// The duration from the first start to the last end, which JMeter uses for rates.
    fn seconds(&self) -> Option<f64> {
        let rate = self.throughput.0.filter(|rate| *rate > 0.0)?;
        Some(to_f64(self.sample_count) / rate)
    }

    fn figures(&self) -> Figures {
        // Rates have full precision, so the bytes are exact.
        let bytes = |rate: Option<f64>| Some(rate? * 1024.0 * self.seconds()?);
        let known = KnownFigures {
            samples: self.sample_count,
            errors: Some(self.error_count),
            throughput: self.throughput.0,
            min: self.min_res_time.0,
            mean: self.mean_res_time.0,
            p50: self.median_res_time.0,
            p90: self.pct1_res_time.0,
            p95: self.pct2_res_time.0,
            p99: self.pct3_res_time.0,
            max: self.max_res_time.0,
            received: bytes(self.received.0),
            sent: bytes(self.sent.0),
        };
        known.figures()
    }

    fn distribution(&self) -> Vec<PercentilePoint> {
        curve([
            (0.0, self.min_res_time.0),
            (50.0, self.median_res_time.0),
            (90.0, self.pct1_res_time.0),
            (95.0, self.pct2_res_time.0),
            (99.0, self.pct3_res_time.0),
            (100.0, self.max_res_time.0),
        ])
    }
}
