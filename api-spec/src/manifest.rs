//! The manifest: what has to be known to run a test again exactly.

use crate::bundle::BundleFile;
use crate::report::Judgement;
use crate::task::{Failure, TaskPayload, TaskStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a run was, and what it ran on. What comes from Docker was recorded while the run was under way,
/// and grows until its containers have ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Id of the task.
    pub task: String,
    /// Suffix of the run in Docker names.
    pub run: String,
    /// How it stands.
    pub status: TaskStatus,
    /// The definition. Values of `environment` are left out: filled in (`NAME=value`), it can be sent
    /// to start the same test again.
    pub definition: TaskPayload,
    /// Fingerprints of those values.
    pub environment: Vec<EnvironmentValue>,
    /// The Director.
    pub director: DirectorUsed,
    /// The images, by reference.
    pub images: BTreeMap<String, ImageUsed>,
    /// The bundles, by id.
    pub bundles: BTreeMap<String, BundleUsed>,
    /// The nodes that had containers of the test, and the manager, by Docker's id.
    pub nodes: BTreeMap<String, NodeUsed>,
    /// Docker's id of the manager that the Director talked to.
    pub manager: String,
    /// The containers, by name.
    #[schema(example = json!({"worker.1": {"node": "q6pyd6dtvx5j", "address": "10.224.0.4", "state": "complete", "exitCode": 0}}))]
    pub containers: BTreeMap<String, ContainerUsed>,
    /// The task's network; absent before it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkUsed>,
    /// The workers' addresses as the master was told them.
    pub worker_addresses: Vec<String>,
    /// Milliseconds by step.
    pub timings: BTreeMap<String, u64>,
    /// Milliseconds from the start of the first worker to that of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_skew: Option<u64>,
    /// Milliseconds that a node's clock was ahead of the Director's, by Docker's id of the node.
    pub clock_offsets: BTreeMap<String, i64>,
    /// When the definition was accepted.
    pub created_at: String,
    /// When the master was seen running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When the outcome was fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// The master's worst exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Why it errored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The verdict with its reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
}

/// The value of a variable, without telling it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentValue {
    /// `master` or `worker`.
    pub service: String,
    /// Name of the variable.
    pub name: String,
    /// HMAC-SHA256 of the value with a key that never leaves the Director's data directory: the same for
    /// the same value in all tasks of a Director, and of no use for guessing it.
    #[schema(example = "hmac-sha256:5f0c...")]
    pub fingerprint: String,
}

/// The Director and what its configuration said of how tasks are run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectorUsed {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Seconds for each phase of bringing up a task; absent: 60 and 1 for each replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestration_timeout: Option<u64>,
    /// Seconds for which a test may run, unless its definition says otherwise.
    pub max_duration: u64,
    /// Where subnets are taken from.
    pub subnet_pool: String,
    /// Image of the sidecar.
    pub discovery_image: String,
}

/// An image as it was on the manager's node when the test began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageUsed {
    /// Digest of its configuration; absent: the manager's node did not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What registries know it by; empty for an image that was never pushed or pulled.
    pub repo_digests: Vec<String>,
}

/// A bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundleUsed {
    /// Name of the uploaded file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Size of the zip in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Size of its content in bytes.
    pub unpacked_bytes: u64,
    /// Its files, by path.
    pub files: Vec<BundleFile>,
}

/// A node of the Swarm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeUsed {
    /// Host name.
    pub hostname: String,
    /// Address in the Swarm.
    pub address: String,
    /// Version of its Docker Engine.
    pub engine_version: String,
    /// Operating system and architecture.
    #[schema(example = "linux/x86_64")]
    pub platform: String,
    /// Processors.
    pub cpus: f64,
    /// Bytes of memory.
    pub memory: u64,
}

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerUsed {
    /// Docker's id of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its address on the task's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Docker's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Docker's word for its state when it was seen last.
    pub state: String,
    /// Its exit code, if it had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
}

/// The task's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkUsed {
    /// Docker's id of it; absent before it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its subnet.
    #[schema(example = "10.224.0.0/24")]
    pub subnet: String,
}
