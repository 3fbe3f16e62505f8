//! Writes values that are read at the time of a scrape.

use super::Label;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabel, EncodeLabelSet, EncodeMetric, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;

/// The output of a collector.
pub(super) struct Gauges<'a>(DescriptorEncoder<'a>);

impl<'a> Gauges<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Writes a gauge without labels.
    pub(super) fn single(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        let help = format!("{help}.");
        let encoder = self
            .0
            .encode_descriptor(name, &help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    /// Writes a gauge with labels.
    pub(super) fn labelled<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = ([Label; N], u64)>,
    ) -> fmt::Result {
        self.present(name, help, unit, rows.into_iter().collect())
    }

    /// Writes a gauge with labels, unless it has no values.
    pub(super) fn present<L: EncodeLabel, V: EncodeGaugeValue, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: Vec<([L; N], V)>,
    ) -> fmt::Result
    where
        [L; N]: EncodeLabelSet,
    {
        if rows.is_empty() {
            return Ok(());
        }
        let help = format!("{help}.");
        let mut encoder = self
            .0
            .encode_descriptor(name, &help, unit, MetricType::Gauge)?;
        for (labels, value) in rows {
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Writes histograms with labels, unless there are none.
    pub(super) fn histograms<L: EncodeLabel, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: &Unit,
        rows: Vec<([L; N], Distribution)>,
    ) -> fmt::Result
    where
        [L; N]: EncodeLabelSet,
    {
        if rows.is_empty() {
            return Ok(());
        }
        let help = format!("{help}.");
        let mut encoder =
            self.0
                .encode_descriptor(name, &help, Some(unit), MetricType::Histogram)?;
        for (labels, Distribution { sum, buckets }) in rows {
            let count = buckets.iter().map(|(_, count)| count).sum();
            let mut encoder = encoder.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// The content of a histogram.
pub(super) struct Distribution {
    /// Sum of the values.
    pub sum: f64,
    /// The upper bound of each bucket, the last of which is [`f64::INFINITY`], and its number of values.
    pub buckets: Vec<(f64, u64)>,
}
