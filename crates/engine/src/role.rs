//! What the objects of a run are for.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What an object of a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The network of the run.
    Network,
    /// The sidecar.
    Discovery,
    /// The generators of load.
    Worker,
    /// The readiness command.
    Readiness,
    /// One try of the wait command.
    Wait,
    /// The coordinator.
    Master,
    /// What brings bundles to the nodes.
    Delivery,
    /// What fetches results from the nodes.
    Collector,
    /// What watches the load of the nodes while the test runs.
    Watcher,
    /// What kills containers of the run on the nodes.
    Killer,
}

impl Role {
    /// The role as it stands in labels, names and log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Discovery => "discovery",
            Self::Worker => "worker",
            Self::Readiness => "readiness",
            Self::Wait => "wait",
            Self::Master => "master",
            Self::Delivery => "delivery",
            Self::Collector => "collector",
            Self::Watcher => "watcher",
            Self::Killer => "killer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
