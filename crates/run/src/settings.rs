//! The part of the configuration that the orchestrator uses.

use atq_evidence::results::ResultsLimits;
use std::time::Duration;

/// The part of the configuration that the orchestrator uses.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Id of this Director, in the labels of everything it creates.
    pub director_id: String,
    /// Maximum number of concurrent tasks.
    pub max_concurrent_tasks: usize,
    /// Timeout of each part of the preparation; `None`: 60 s plus 1 s for each replica.
    pub orchestration_timeout: Option<Duration>,
    /// Maximum duration of a test.
    pub max_duration: Duration,
    /// Maximum time for which the engine may be unavailable while a test runs.
    pub engine_timeout: Duration,
    /// Address pool of the networks, for the manifest.
    pub subnet_pool: String,
    /// Image of the name resolver, for the manifest.
    pub discovery_image: String,
    /// Limits for the results that a run leaves in `/atq/results`.
    pub results: ResultsLimits,
}

impl Settings {
    /// Timeout of each part of the preparation of a service with `replicas` containers.
    pub fn orchestration_timeout(&self, replicas: u32) -> Duration {
        self.orchestration_timeout
            .unwrap_or(Duration::from_secs(60 + u64::from(replicas)))
    }
}
