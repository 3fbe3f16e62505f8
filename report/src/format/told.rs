//! Figures of which a tool tells some.

use crate::histogram::to_f64;
use atq_api_spec::report::Figures;

/// What a tool tells of a number of samples; times are milliseconds.
#[derive(Debug, Default)]
pub struct Told {
    pub samples: u64,
    pub errors: Option<u64>,
    pub throughput: Option<f64>,
    pub min: Option<f64>,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    pub received_bytes: Option<u64>,
    pub sent_bytes: Option<u64>,
}

impl Told {
    /// The figures, with the names of those that are not told.
    pub fn figures(self) -> Figures {
        let percent = |errors| to_f64(errors) / to_f64(self.samples.max(1)) * 100.0;
        let error_percent = self.errors.map(percent);
        let named = [
            ("errors", self.errors.is_none()),
            ("errorPercent", error_percent.is_none()),
            ("throughput", self.throughput.is_none()),
            ("min", self.min.is_none()),
            ("mean", self.mean.is_none()),
            ("p50", self.p50.is_none()),
            ("p90", self.p90.is_none()),
            ("p95", self.p95.is_none()),
            ("p99", self.p99.is_none()),
            ("max", self.max.is_none()),
            ("receivedBytes", self.received_bytes.is_none()),
            ("sentBytes", self.sent_bytes.is_none()),
        ];
        let missing = named.iter().filter(|(_, is_missing)| *is_missing);
        Figures {
            samples: self.samples,
            errors: self.errors.unwrap_or_default(),
            error_percent: error_percent.unwrap_or_default(),
            throughput: self.throughput.unwrap_or_default(),
            min: self.min.unwrap_or_default(),
            mean: self.mean.unwrap_or_default(),
            p50: self.p50.unwrap_or_default(),
            p90: self.p90.unwrap_or_default(),
            p95: self.p95.unwrap_or_default(),
            p99: self.p99.unwrap_or_default(),
            max: self.max.unwrap_or_default(),
            received_bytes: self.received_bytes.unwrap_or_default(),
            sent_bytes: self.sent_bytes.unwrap_or_default(),
            missing: missing.map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}
