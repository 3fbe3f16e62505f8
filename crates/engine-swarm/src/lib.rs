//! Docker Swarm as an engine: [`SwarmEngine`]. Behind it is the port to Docker, [`Swarm`]: [`docker`] is the real one,
//! [`fake`] a model of a Swarm for tests; one suite of tests runs on both.

pub mod admission;
mod advice;
mod bundle_volumes;
mod check;
mod constraint;
mod core;
mod delivery;
pub mod discovery;
pub mod docker;
mod engine;
mod errand;
mod error;
#[cfg(any(test, feature = "model"))]
pub mod fake;
mod image_reason;
pub mod inbound;
mod kill;
mod ledger;
mod load;
mod lookout;
pub mod members;
mod network;
mod node_url;
mod owned;
pub mod plan;
mod port;
mod problem;
pub mod reach;
pub mod registry;
mod removal;
mod results;
mod routes;
mod services;
mod shared_lists;
mod sidecar;
mod start;
mod subnets;

pub use crate::core::{Bounds, SwarmSettings};
pub use atq_engine::{ImageDigests, JoinTokens, LogLine, LogQuery, LogStream, Machine};
pub use engine::{Ports, SwarmEngine};
pub use error::SwarmError;

pub use port::{
    Container, CpuUsage, Kind, Manager, Network, Node, NodeTraits, Object, Service, Swarm,
    SwarmTask, TaskState, role_of,
};
pub use shared_lists::SharedLists;
