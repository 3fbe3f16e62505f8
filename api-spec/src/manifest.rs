//! The manifest: everything needed to run a test again exactly.

use crate::bundle::BundleFile;
use crate::report::Judgement;
use crate::task::{Failure, TaskPayload, TaskStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Everything needed to run a test again: its definition and its environment. Data from Docker is recorded during the
/// run, and grows until its containers have ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Id of the task.
    pub task: String,
    /// Suffix of the run in Docker names.
    pub run: String,
    /// Status of the task.
    pub status: TaskStatus,
    /// The definition, without the values of `environment`. With the values filled in (`NAME=value`), it can be sent
    /// to start the same test again.
    pub definition: TaskPayload,
    /// Fingerprints of the omitted values.
    pub environment: Vec<EnvironmentValue>,
    /// The Director.
    pub director: DirectorUsed,
    /// The images, by reference.
    pub images: BTreeMap<String, ImageUsed>,
    /// The bundles, by id.
    pub bundles: BTreeMap<String, BundleUsed>,
    /// The nodes that had containers of the test, and the manager, by Docker's id.
    pub nodes: BTreeMap<String, NodeUsed>,
    /// Docker's id of the manager that the Director used.
    pub manager: String,
    /// The containers, by name.
    #[schema(example = json!({"worker.1": {"node": "q6pyd6dtvx5j", "address": "10.224.0.4", "state": "complete", "exitCode": 0}}))]
    pub containers: BTreeMap<String, ContainerUsed>,
    /// The task's network; absent until it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkUsed>,
    /// Addresses of the workers, as given to the master.
    pub worker_addresses: Vec<String>,
    /// Duration of each step in milliseconds.
    pub timings: BTreeMap<String, u64>,
    /// Milliseconds between the starts of the first and the last worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_skew: Option<u64>,
    /// Offset of each node's clock from the Director's in milliseconds, positive if ahead, by Docker's id of the
    /// node.
    pub clock_offsets: BTreeMap<String, i64>,
    /// Time at which the definition was accepted.
    pub created_at: String,
    /// Name of the client that started the run; absent if it was not identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Time at which the master was first observed running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Time at which the outcome was determined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Exit code of the master; the worst one of several replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Reason of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The verdict with its reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
}

/// Fingerprint of the value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentValue {
    /// `master` or `worker`.
    pub service: String,
    /// Name of the variable.
    pub name: String,
    /// HMAC-SHA256 of the value with a key that never leaves the Director's data directory. Equal values have equal
    /// fingerprints in all tasks of a Director; the value cannot be guessed from it.
    #[schema(example = "hmac-sha256:5f0c...")]
    pub fingerprint: String,
}

/// The Director and the settings that affected the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectorUsed {
    /// Id of the Director.
    pub id: String,
    /// Version of the Director.
    pub version: String,
    /// Timeout of each preparation phase in seconds; absent for the default: 60, and 1 for each replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestration_timeout: Option<u64>,
    /// Default maximum duration of a test in seconds.
    pub max_duration: u64,
    /// Pool of subnets.
    pub subnet_pool: String,
    /// Image of the sidecar.
    pub discovery_image: String,
}

/// An image on the manager's node at the start of the test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageUsed {
    /// Digest of its configuration; absent if the manager's node did not have the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Repository digests; empty for an image that was never pushed or pulled.
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
    /// Files of the bundle, by path.
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
    /// Number of CPUs.
    pub cpus: f64,
    /// Memory in bytes.
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
    /// Docker's id of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Last observed state, as named by Docker.
    pub state: String,
    /// Exit code, if the container had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
}

/// The task's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkUsed {
    /// Docker's id of the network; absent until it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its subnet.
    #[schema(example = "10.224.0.0/24")]
    pub subnet: String,
}
