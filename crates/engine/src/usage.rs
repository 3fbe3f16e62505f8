//! Sampling of resource usage.

use crate::Source;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;

/// A container whose resource usage is sampled.
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

/// The CPU usage of a container during an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuInterval {
    /// Mean number of CPUs in use.
    pub used: f64,
    /// Number of CPUs that the container may use.
    pub processors: f64,
    /// Length of the interval in seconds.
    pub seconds: f64,
}

/// Memory, network and block I/O of a container at one moment, in bytes. What is not known is absent. All but memory counts
/// since the start of the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceUsage {
    /// Used memory, without page cache that can be dropped.
    pub memory: Option<u64>,
    /// Memory limit; that of the node without a limit of the container.
    pub memory_limit: Option<u64>,
    /// Received from the network.
    pub received: Option<u64>,
    /// Sent to the network.
    pub sent: Option<u64>,
    /// Read from block devices.
    pub read: Option<u64>,
    /// Written to block devices.
    pub written: Option<u64>,
}

/// A sample of the resource usage of a container.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ContainerSample<'a> {
    /// The container.
    pub target: &'a Target,
    /// CPU usage since the sample before; absent for the first one.
    pub cpu: Option<CpuInterval>,
    /// Memory, network and block I/O.
    pub usage: ResourceUsage,
}

/// Receives samples of the resource usage.
pub trait UsageSink: Send + Sync {
    /// A sample of a container.
    fn container(&self, sample: &ContainerSample<'_>);

    /// The CPU usage of a node was `percent` on average over `seconds`.
    fn node(&self, node: &str, percent: f64, seconds: f64);
}

/// The sampling of the resource usage of a run. Dropping it ends the sampling; [`UsageWatch::end`] also removes its objects.
#[async_trait]
pub trait UsageWatch: Send + Sync {
    /// Ends the sampling and removes its objects.
    async fn end(&self);
}
