//! The roles of the objects of a run.

use serde::de::{IntoDeserializer, value};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The role of an object of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The network of the run.
    Network,
    /// The sidecar.
    Discovery,
    /// The load generators.
    Worker,
    /// The readiness command.
    Readiness,
    /// An attempt of the wait command.
    Wait,
    /// The coordinator.
    Master,
    /// Carriers that deliver bundles to nodes.
    Delivery,
    /// Carriers that fetch results from nodes.
    Collector,
    /// Carriers that sample the resource usage of nodes while the test runs.
    Watcher,
    /// Carriers that kill containers of the run on nodes.
    Killer,
    /// Carriers that send results as they grow.
    Tail,
}

impl Role {
    /// The role with this name.
    pub fn parse(name: &str) -> Option<Self> {
        let name: value::StrDeserializer<'_, value::Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }

    /// Whether results of its containers are collected.
    pub fn keeps_results(self) -> bool {
        matches!(self, Self::Worker | Self::Master)
    }

    /// The name of the role in labels, names and log lines.
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
            Self::Tail => "tail",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
