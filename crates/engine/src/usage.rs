//! Sampling of CPU usage.

use crate::Source;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;

/// A container whose CPU usage is sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its role and number.
    pub source: Source,
    /// Id of its node.
    pub node: String,
    /// Its id there.
    pub container: String,
    /// CPU limit.
    pub limit: Option<f64>,
}

/// The containers to sample now.
pub type Targets = Arc<Mutex<Vec<Target>>>;

/// Receives samples of the CPU usage.
pub trait UsageSink: Send + Sync {
    /// A container on `node` with `processors` CPUs used `used` of them on average over `seconds`.
    fn container(&self, source: Source, node: &str, used: f64, processors: f64, seconds: f64);

    /// The CPU usage of a node was `percent` on average over `seconds`.
    fn node(&self, node: &str, percent: f64, seconds: f64);
}

/// The sampling of the CPU usage of a run. Dropping it ends the sampling; [`UsageWatch::end`] also removes its objects.
#[async_trait]
pub trait UsageWatch: Send + Sync {
    /// Ends the sampling and removes its objects.
    async fn end(&self);
}
