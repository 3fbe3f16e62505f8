//! Writes values that are read at the time of a scrape.

use super::Label;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabel, EncodeLabelSet, EncodeMetric,
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
}
