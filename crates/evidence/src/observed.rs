//! State observed in Docker while a task runs, because it cannot be queried afterwards.

use super::Evidence;
use atq_engine::{ImageDigests, Machine};
use atq_files::{Mode, write_atomic};
use atq_task::spec::TaskName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// The observed state. Files are kept for years: fields may be added with a default, never renamed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// Id of the Director.
    pub director: String,
    /// Its version.
    pub version: String,
    /// Relevant settings of its configuration.
    pub settings: ObservedSettings,
    /// The manager's node.
    pub manager: String,
    /// The images, by reference.
    pub images: BTreeMap<String, ObservedImage>,
    /// The bundles, by id.
    pub bundles: BTreeMap<String, ObservedBundle>,
    /// The manager and the nodes that had containers, by id.
    pub nodes: BTreeMap<String, ObservedNode>,
    /// The containers, by name: `worker.3`.
    pub containers: BTreeMap<String, ObservedContainer>,
}

/// Settings that affect how tasks run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedSettings {
    /// Seconds for each phase of starting a task; `None`: derived from the number of replicas.
    pub orchestration_timeout: Option<u64>,
    /// Default limit of a test's duration, in seconds.
    pub max_duration: u64,
    /// The pool that subnets are allocated from.
    pub subnet_pool: String,
    /// Image of the sidecar.
    pub discovery_image: String,
}

/// An image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedImage {
    /// Digests on the manager's node; `None` if the image was not there.
    pub digests: Option<ImageDigests>,
}

/// A bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedBundle {
    /// Name of the zip.
    pub file_name: Option<String>,
    /// Bytes of the zip.
    pub zip_bytes: Option<u64>,
    /// Bytes of its files.
    pub unpacked_bytes: u64,
    /// Bytes of each file, by path.
    pub files: BTreeMap<String, u64>,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedNode {
    /// Host name.
    pub hostname: String,
    /// Address in the Swarm.
    pub address: String,
    /// Hardware and operating system.
    pub machine: Machine,
}

/// A master or worker container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedContainer {
    /// Id of its node.
    pub node: Option<String>,
    /// Its address on the task's network.
    pub address: Option<String>,
    /// Docker's id.
    pub container: Option<String>,
    /// Docker's state at the last observation.
    pub state: String,
    /// The exit code, if the container has ended.
    pub exit_code: Option<i64>,
}

impl Evidence {
    /// The observed state of a run; empty if there is none or the file cannot be read. Blocks.
    pub fn observed(&self, task: &TaskName, run: &str) -> Observed {
        let path = self.run_dir(task, run).join("manifest.json");
        let read = std::fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        read.unwrap_or_else(|error: io::Error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%task, %error, "cannot read `{}`", path.display());
            }
            Observed::default()
        })
    }

    /// Writes the observed state of a run atomically. Blocks.
    ///
    /// # Errors
    /// If writing fails.
    pub fn keep_observed(&self, task: &TaskName, run: &str, seen: &Observed) -> io::Result<()> {
        let path = self.run_dir(task, run).join("manifest.json");
        write_atomic(&path, &serde_json::to_vec_pretty(seen)?, Mode::Private)
    }
}
