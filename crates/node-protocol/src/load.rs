//! How busy a node is: the body of `POST /carrier/{run}/load`. 100 percent is one processor.

use serde::{Deserialize, Serialize};

/// How busy a node is, and the run's containers on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// When, by the node's clock: milliseconds since 1970.
    #[serde(default)]
    pub at: i64,
    /// Its processors.
    pub cpus: u32,
    /// Of all its processors together, from 0 to 100.
    pub node_percent: f64,
    /// Masters and workers of the run.
    pub containers: Vec<ContainerLoad>,
}

/// How busy a container is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerLoad {
    /// Docker's id.
    #[serde(default)]
    pub id: String,
    /// For example `worker.3`.
    pub source: String,
    /// More than 100 when it uses more than one processor.
    pub percent: f64,
}
