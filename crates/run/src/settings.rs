//! The part of the configuration that the orchestrator uses.

use atq_evidence::results::ResultsLimits;
use std::time::Duration;

/// The part of the configuration that the orchestrator uses.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Id of this Director, in the labels of everything it creates.
    pub director_id: String,
    /// How many tasks run at once.
    pub max_concurrent_tasks: usize,
    /// Bound of each part of the preparation; `None`: 60 s and 1 s for each replica.
    pub orchestration_timeout: Option<Duration>,
    /// Longest time for which a test may run.
    pub max_duration: Duration,
    /// How long the engine may be away while a test runs.
    pub engine_patience: Duration,
    /// Where the networks of tasks come from, for the manifest.
    pub subnet_pool: String,
    /// Image of the resolver of names, for the manifest.
    pub discovery_image: String,
    /// How much is kept of what the containers of a run leave in `/atq/results`.
    pub results: ResultsLimits,
}

impl Settings {
    /// Bound of each part of the preparation of a service with `replicas` containers.
    pub fn orchestration_timeout(&self, replicas: u32) -> Duration {
        self.orchestration_timeout
            .unwrap_or(Duration::from_secs(60 + u64::from(replicas)))
    }
}
