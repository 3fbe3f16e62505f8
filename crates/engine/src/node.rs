//! Nodes, and objects created by Directors.

use crate::Machine;

/// Status of a usable engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Id of the Director's node.
    pub node_id: String,
    /// Its address, as other nodes see it.
    pub node_address: String,
    /// Version of the engine.
    pub engine_version: String,
}

/// Tokens for joining the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinTokens {
    /// For managers.
    pub manager: String,
    /// For workers.
    pub worker: String,
}

/// A machine that runs containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// Its address.
    pub address: String,
    /// Its hardware and versions.
    pub machine: Machine,
    /// Whether it is reachable.
    pub ready: bool,
    /// Whether it accepts new containers.
    pub active: bool,
}

/// A request that an engine's routes for programs on nodes refused, because its sender is not authorized. An extension
/// of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRequest {
    /// Method and path; paths have no secrets.
    pub request: String,
    /// The node that the sender claims to be; empty without one.
    pub node: String,
    /// The reason, as a sentence.
    pub reason: String,
}

/// An object created by a Director, from its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The engine's name of its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Id of the Director.
    pub director: String,
    /// Whether it was created with the host, data directory and port of this Director.
    pub is_here: bool,
    /// Its task and run; `None` if the labels lack them.
    pub run: Option<(String, String)>,
}
