//! What was seen of Docker while a task ran: what cannot be found out afterwards.

use super::Evidence;
use atq_engine::{ImageDigests, Machine};
use atq_files::{Mode, write_atomic};
use atq_task::spec::TaskName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// What was seen. Files are kept for years: fields may be added with a default, never renamed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// Id of the Director.
    pub director: String,
    /// Its version.
    pub version: String,
    /// What its configuration said.
    pub settings: SeenSettings,
    /// The manager's node.
    pub manager: String,
    /// The images, by reference.
    pub images: BTreeMap<String, SeenImage>,
    /// The bundles, by id.
    pub bundles: BTreeMap<String, SeenBundle>,
    /// The manager and the nodes that had containers, by id.
    pub nodes: BTreeMap<String, SeenNode>,
    /// The containers, by name: `worker.3`.
    pub containers: BTreeMap<String, SeenContainer>,
}

/// What the configuration said of how tasks are run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenSettings {
    /// Seconds for each phase of bringing up a task; `None`: by its replicas.
    pub orchestration_timeout: Option<u64>,
    /// Seconds for which a test may run, unless its definition says otherwise.
    pub max_duration: u64,
    /// Where subnets are taken from.
    pub subnet_pool: String,
    /// Image of the sidecar.
    pub discovery_image: String,
}

/// An image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenImage {
    /// What it was on the manager's node; `None`: it was not there.
    pub digests: Option<ImageDigests>,
}

/// A bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenBundle {
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
pub struct SeenNode {
    /// Host name.
    pub hostname: String,
    /// Address in the Swarm.
    pub address: String,
    /// What it is made of.
    pub machine: Machine,
}

/// A container of the user's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenContainer {
    /// Id of its node.
    pub node: Option<String>,
    /// Its address on the task's network.
    pub address: Option<String>,
    /// Docker's id.
    pub container: Option<String>,
    /// Docker's word for its state when it was seen last.
    pub state: String,
    /// Its exit code, if it had ended.
    pub exit_code: Option<i64>,
}

impl Evidence {
    fn observed_path(&self, task: &TaskName, run: &str) -> PathBuf {
        let dir = self.root.join(task.as_str()).join(run);
        dir.join("manifest.json")
    }

    /// What was seen of a run; nothing when nothing was kept, or it cannot be read. Blocks.
    pub fn observed(&self, task: &TaskName, run: &str) -> Observed {
        let path = self.observed_path(task, run);
        let read = std::fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        read.unwrap_or_else(|error: io::Error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%task, %error, "cannot read `{}`", path.display());
            }
            Observed::default()
        })
    }

    /// Keeps what was seen of a run, whole or not at all. Blocks.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn keep_observed(&self, task: &TaskName, run: &str, seen: &Observed) -> io::Result<()> {
        let path = self.observed_path(task, run);
        write_atomic(&path, &serde_json::to_vec_pretty(seen)?, Mode::Private)
    }
}
