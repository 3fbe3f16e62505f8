//! Resources, placement and readiness of a service.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Resource limits and reservations of each container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Limits of a container: at least 0.01 CPUs and 6 MiB. A container that exceeds its memory limit is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
    /// Resources that a node must have free and reserves: at least 0.001 CPUs and 4 MiB, at most the limit. Without
    /// such a node the task fails with `worker_unplaceable` or `master_unplaceable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservations: Option<Amounts>,
}

/// Amounts of CPU and memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Amounts {
    /// Number of CPUs, at most 1024; fractions are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.5)]
    pub cpus: Option<Cpus>,
    /// Memory, at most 2^53 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "512m")]
    pub memory: Option<Memory>,
}

/// CPUs: a number, or a number as text. Responses contain a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Cpus {
    /// A number.
    #[schema(value_type = f64)]
    Number(serde_json::Number),
    /// A decimal number as text.
    Text(String),
}

/// Memory: a whole number of bytes, or text with a unit, all powers of 1024: `b`, `k`, `m`, `g`, `t`, `p`,
/// case-insensitive, with or without `B` or `iB` (`512m`, `512MiB`, `2g`, `1GB`). Responses contain bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Memory {
    /// Bytes.
    Bytes(u64),
    /// A number with a unit.
    Text(String),
}

/// Placement of the containers of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    /// Constraints that a node must satisfy, in Docker's syntax: `==` or `!=` between a key and a value. Keys are
    /// `node.id`, `node.hostname`, `node.role`, `node.ip`, `node.platform.os`, `node.platform.arch`,
    /// `node.labels.NAME` and `engine.labels.NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["node.labels.zone==a"]))]
    pub constraints: Vec<String>,
    /// Maximum number of containers of the service on one node. Default: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100000)]
    pub max_replicas_per_node: Option<u32>,
}

/// A file of the bundle that is split among the replicas: CSV, or any text with one record per line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// Path in the bundle.
    #[schema(example = "data/users.csv")]
    pub path: String,
    /// Whether the first record contains the column names, which every part then begins with.
    pub header: bool,
}

/// Readiness check of every worker, performed inside the task's network: exactly one of `tcp`, `http` and `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerReadiness {
    /// TCP port that must accept a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 65535, example = 1099)]
    pub tcp: Option<u16>,
    /// GET request that the worker must answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpQuestion>,
    /// Command for `/bin/sh -c` in a separate container with the worker's image and environment. It succeeds with
    /// exit code 0; `ATQ_WORKER_ADDRESS` contains the worker's address. It runs for all workers concurrently, and is
    /// retried until it succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 131049)]
    pub exec: Option<String>,
    /// Timeout in seconds, during which the check is retried. Then the task fails with `workers_not_ready`, and a
    /// reason for each worker.
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
    /// Path with optional query: visible ASCII without `#`.
    #[serde(default = "root")]
    #[schema(pattern = "^/", max_length = 2000, default = "/", example = "/health")]
    pub path: String,
    /// Expected status; redirects are not followed.
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
