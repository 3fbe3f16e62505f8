//! CPU usage of a node: the body of `POST /carrier/{run}/load`. 100 percent of a container is one CPU.

use serde::{Deserialize, Serialize};

/// CPU usage of a node and of the run's containers on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Time of the sample by the node's clock, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub at: i64,
    /// Number of CPUs.
    pub cpus: u32,
    /// Usage of all CPUs together, from 0 to 100.
    pub node_percent: f64,
    /// Masters and workers of the run.
    pub containers: Vec<ContainerLoad>,
}

/// CPU usage of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerLoad {
    /// Docker's container id.
    #[serde(default)]
    pub id: String,
    /// For example `worker.3`.
    pub source: String,
    /// Usage in percent of one CPU; more than 100 with several CPUs in use.
    pub percent: f64,
}
