//! Docker Swarm as an engine: [`SwarmEngine`] implements [`Engine`](atq_engine::Engine).
//!
//! - [`SwarmSettings`]: the settings of the engine; [`Ports`]: its connections;
//! - [`Swarm`]: the port to Docker. [`docker`] implements it for the real Docker, `fake` (feature `model`) simulates a
//!   Swarm for tests; one test suite runs on both;
//! - [`plan`]: names, labels and descriptions of all objects of a run, pure;
//! - [`carrier_endpoint`], [`node_auth`], [`node_door`]: requests of carriers on the nodes, and the port for them.
//!
//! The crate contains all knowledge of Docker: it alone depends on `bollard`. It must not depend on the store, the evidence
//! or the driver.

mod bundle_volumes;
pub mod carrier_endpoint;
mod check;
mod constraint;
mod core;
mod delivery;
pub mod discovery;
pub mod docker;
mod engine;
mod error;
#[cfg(any(test, feature = "model"))]
pub mod fake;
mod follow;
mod hints;
mod image_reason;
mod kill;
pub mod members;
mod network;
pub mod node_auth;
pub mod node_door;
mod node_job;
mod node_url;
mod observed_calls;
mod owned;
pub mod plan;
mod port;
mod refused_setting;
pub mod registry;
mod registry_problem;
mod removal;
mod results;
mod routes;
mod run_volumes;
pub mod self_check;
mod services;
mod shared_lists;
mod sidecar;
mod sidecar_poller;
mod start;
mod subnets;
mod usage;
mod volume_index;
mod volume_removal;

pub use crate::core::{Bounds, SwarmSettings};
pub use atq_engine::{ImageDigests, JoinTokens, LogLine, LogQuery, LogStream, Machine};
pub use engine::{Ports, SwarmEngine};
pub use error::SwarmError;
pub use node_door::NodeDoor;
pub use node_url::AdvertisedUrl;
pub use observed_calls::ObservedCalls;

pub use port::{
    ApiVersion, Container, ContainerUsage, CpuUsage, Kind, Manager, Network, Node, NodeTraits,
    Object, Service, Swarm, SwarmTask, TaskState, role_of,
};
pub use shared_lists::SharedLists;
