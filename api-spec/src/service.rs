//! What a service of a task may take, where it may run, and when its containers are ready.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What each container may take, and what its node must have free for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// The most that a container may take: at least 0.01 processors and 6 MiB. One that takes more
    /// memory is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
    /// What a node must have free, and sets aside: at least 0.001 processors and 4 MiB, at most the
    /// limit. Without such a node the task fails with `worker_unplaceable` or `master_unplaceable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservations: Option<Amounts>,
}

/// Processor time and memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Amounts {
    /// Processors, at most 1024, also in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.5)]
    pub cpus: Option<Cpus>,
    /// Memory, at most 2^53 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "512m")]
    pub memory: Option<Memory>,
}

/// Processors: a number, or the same as text. Answers have the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Cpus {
    /// As a number.
    #[schema(value_type = f64)]
    Number(serde_json::Number),
    /// In digits, with or without a point.
    Text(String),
}

/// Memory: bytes as a whole number, or text with a unit, all powers of 1024: `b`, `k`, `m`, `g`, `t`,
/// `p`, in any case, with or without `B` or `iB` (`512m`, `512MiB`, `2g`, `1GB`). Answers have bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Memory {
    /// Bytes.
    Bytes(u64),
    /// A number with a unit.
    Text(String),
}

/// Where the containers of a service may run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    /// What a node must be like, all of it, in Docker's language: `==` or `!=` between a key and a
    /// value. Keys are `node.id`, `node.hostname`, `node.role`, `node.ip`, `node.platform.os`,
    /// `node.platform.arch`, `node.labels.NAME` and `engine.labels.NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["node.labels.zone==a"]))]
    pub constraints: Vec<String>,
    /// At most so many containers of the service on one node. None: as Swarm likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100000)]
    pub max_replicas_per_node: Option<u32>,
}

/// A file of the bundle, of which every replica gets a part of its own: CSV, or any text of one record a
/// line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// Its path in the bundle.
    #[schema(example = "data/users.csv")]
    pub path: String,
    /// Whether its first record names the columns; then every part begins with it.
    pub header: bool,
}

/// What every worker must answer to, asked from inside the task's network, before it counts as ready:
/// exactly one of `tcp`, `http` and `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerReadiness {
    /// It accepts a connection on this TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 65535, example = 1099)]
    pub tcp: Option<u16>,
    /// It answers a GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpQuestion>,
    /// A command, given to `/bin/sh -c` in a container beside the workers that has the worker's image
    /// and environment. It succeeds when it exits 0; `ATQ_WORKER_ADDRESS` names the worker. It is run
    /// for all workers at once, and again until it succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 131049)]
    pub exec: Option<String>,
    /// Seconds for which is asked again. Then the task fails with `workers_not_ready`, and a reason
    /// for each worker.
    #[serde(default = "a_minute")]
    #[schema(minimum = 1, maximum = 86400, default = 60)]
    pub timeout: u64,
}

/// A GET that every worker must answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpQuestion {
    /// TCP port.
    #[schema(minimum = 1, maximum = 65535, example = 8080)]
    pub port: u16,
    /// Path, and query if there is one: visible ASCII without `#`.
    #[serde(default = "root")]
    #[schema(pattern = "^/", max_length = 2000, default = "/", example = "/health")]
    pub path: String,
    /// The status that it must answer with; redirects are not followed.
    #[serde(default = "ok")]
    #[schema(minimum = 100, maximum = 599, default = 200)]
    pub status: u16,
}

fn a_minute() -> u64 {
    60
}

fn root() -> String {
    "/".to_owned()
}

fn ok() -> u16 {
    200
}
