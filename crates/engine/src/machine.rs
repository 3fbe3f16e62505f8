//! Hardware and images on which a test runs.

use serde::{Deserialize, Serialize};

/// Hardware and versions of a node. Unknown values are empty or zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Version of the container engine.
    pub engine_version: String,
    /// Operating system, for example `linux`.
    pub os: String,
    /// CPU architecture, for example `x86_64`.
    pub architecture: String,
    /// CPUs in billionths.
    pub nano_cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
}

/// Digests of an image on the Director's node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageDigests {
    /// The image id: the digest of its configuration.
    pub id: String,
    /// Digests in registries, for example `registry.example.com/jmeter@sha256:...`; empty for an image that was never
    /// pushed or pulled.
    pub repo_digests: Vec<String>,
}
