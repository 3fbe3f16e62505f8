//! The part of the configuration that the orchestrator uses.

use crate::evidence::results::ResultsLimits;
use ipnet::Ipv4Net;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The part of the configuration that the orchestrator uses.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Id of this Director, in the labels of everything it creates.
    pub director_id: String,
    /// Where this Director lives, in the labels too: no other can be there at the same time.
    pub place: String,
    /// How many tasks run at once.
    pub max_concurrent_tasks: usize,
    /// Bound of each part of the preparation; `None`: 60 s and 1 s for each replica.
    pub orchestration_timeout: Option<Duration>,
    /// Longest time for which a test may run.
    pub max_duration: Duration,
    /// How long Docker may be away while a test runs.
    pub docker_patience: Duration,
    /// Where the subnets of tasks are taken from.
    pub subnet_pool: Ipv4Net,
    /// Image of the sidecar.
    pub discovery_image: String,
    /// Host under which sidecars are reached; `None`: found.
    pub discovery_host: Option<String>,
    /// How much is kept of what the containers of a run leave in `/atq/results`.
    pub results: ResultsLimits,
    /// What every container of a task is bound to.
    pub bounds: Bounds,
    /// Where the Director listens.
    pub listen: SocketAddr,
    /// URL under which the nodes reach the Director, without a slash at its end; `None`: found.
    pub advertise_url: Option<String>,
    /// Image of the carrier.
    pub carrier_image: String,
    /// Docker's socket on the nodes.
    pub node_docker_socket: PathBuf,
}

/// What every container of a task is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most processes and threads; `None`: not limited.
    pub pids: Option<u64>,
    /// The longest time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
}

impl Settings {
    /// Bound of each part of the preparation of a service with `replicas` containers.
    pub fn orchestration_timeout(&self, replicas: u32) -> Duration {
        self.orchestration_timeout
            .unwrap_or(Duration::from_secs(60 + u64::from(replicas)))
    }
}
