//! What is known of a run while its test runs: figures from growing result files, stop conditions, and the latest resource
//! usage of its containers.
//!
//! - [`LiveRun`]: shared by the driver of a run and the API;
//! - [`LiveResults`]: receives the bytes of result files from the engine, keeps and decodes them, and computes a
//!   [`Snapshot`] once a second while one is needed;
//! - `following`: the following of a run's files, which a step begins and ends.
//!
//! The figures of the report replace those of a snapshot.

pub(crate) mod following;
mod progress;
mod results;
mod snapshot;

pub use results::LiveResults;
pub(crate) use results::not_evaluated_until_the_end;
pub use snapshot::Snapshot;

use atq_engine::{ContainerSample, Source};
use atq_task::timestamp::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Age at which a sample of the resource usage is not the current one any more.
const USAGE_AGE: Duration = Duration::from_secs(10);

/// What is known of a run while its test runs.
#[derive(Debug, Default)]
pub struct LiveRun {
    usage: Mutex<BTreeMap<Source, ContainerUsage>>,
    results: Mutex<Option<Arc<LiveResults>>>,
}

/// The latest resource usage of a container. What is not known is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerUsage {
    /// Id of its node.
    pub node: String,
    /// Number of CPUs in use.
    pub cpu: Option<f64>,
    /// Number of CPUs that it may use.
    pub cpu_limit: Option<f64>,
    /// Memory in use in bytes.
    pub memory: Option<u64>,
    /// Memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// Time of the sample.
    pub at: Timestamp,
}

impl LiveRun {
    /// The growing results; `None` before the test runs, and from the report on.
    pub fn results(&self) -> Option<Arc<LiveResults>> {
        self.results.lock().clone()
    }

    /// The resource usage of the running containers.
    pub fn usage(&self, now: Timestamp) -> Vec<(Source, ContainerUsage)> {
        let usage = self.usage.lock();
        let current = usage
            .iter()
            .filter(|(_, usage)| now.since(usage.at) < USAGE_AGE);
        current
            .map(|(source, usage)| (*source, usage.clone()))
            .collect()
    }

    pub(super) fn record_usage(&self, at: Timestamp, sample: &ContainerSample<'_>) {
        let cpu = sample
            .cpu
            .filter(|cpu| cpu.used.is_finite() && cpu.processors.is_finite());
        let usage = ContainerUsage {
            node: sample.target.node.clone(),
            cpu: cpu.map(|cpu| cpu.used),
            cpu_limit: cpu.map(|cpu| cpu.processors),
            memory: sample.usage.memory,
            memory_limit: sample.usage.memory_limit,
            at,
        };
        self.usage.lock().insert(sample.target.source, usage);
    }

    pub(super) fn set_results(&self, results: Option<Arc<LiveResults>>) {
        *self.results.lock() = results;
    }
}
