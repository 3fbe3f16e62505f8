//! What a test runs on.

use serde::{Deserialize, Serialize};

/// What a node is made of. Empty and zero is what Docker does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Version of its Docker Engine.
    pub engine_version: String,
    /// Its operating system, for example `linux`.
    pub os: String,
    /// Its processors' architecture, for example `x86_64`.
    pub architecture: String,
    /// Billionths of a processor, as Docker counts.
    pub nano_cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
}

/// An image as it is on the manager's node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageDigests {
    /// Its id there: the digest of its configuration.
    pub id: String,
    /// What registries know it by, for example `registry.example.com/jmeter@sha256:...`; none for an
    /// image that was never pushed or pulled.
    pub repo_digests: Vec<String>,
}
