//! Figures of a tool, of which some may be unknown.

use super::{Figures, to_f64, to_u64};

/// Figures as given in a file. `None`, negative and infinite ones are unknown.
#[derive(Debug, Default, Clone, Copy)]
pub struct KnownFigures {
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
    pub received: Option<f64>,
    pub sent: Option<f64>,
}

impl KnownFigures {
    /// The reported percentiles, of which `percentile` returns each.
    pub fn of_percentiles(percentile: impl Fn(f64) -> Option<f64>) -> Self {
        Self {
            p50: percentile(50.0),
            p90: percentile(90.0),
            p95: percentile(95.0),
            p99: percentile(99.0),
            ..Self::default()
        }
    }

    /// Converts to figures with the names of the missing ones.
    pub fn figures(self) -> Figures {
        let mut missing = Vec::new();
        let mut need = |name: &str, value: Option<f64>| {
            let value = value.filter(|value| value.is_finite() && *value >= 0.0);
            if value.is_none() {
                missing.push(name.to_owned());
            }
            value.unwrap_or_default()
        };
        let percent = |errors: u64| to_f64(errors) / to_f64(self.samples.max(1)) * 100.0;
        need("errors", self.errors.map(to_f64));
        let figures = Figures {
            samples: self.samples,
            errors: self.errors.unwrap_or_default(),
            error_percent: need("errorPercent", self.errors.map(percent)),
            throughput: need("throughput", self.throughput),
            min: need("min", self.min),
            mean: need("mean", self.mean),
            p50: need("p50", self.p50),
            p90: need("p90", self.p90),
            p95: need("p95", self.p95),
            p99: need("p99", self.p99),
            max: need("max", self.max),
            received_bytes: to_u64(need("receivedBytes", self.received).round()),
            sent_bytes: to_u64(need("sentBytes", self.sent).round()),
            missing: Vec::new(),
        };
        Figures { missing, ..figures }
    }
}
