//! The interface to a container engine, in terms of runs.
//!
//! - [`Engine`]: the operations. All are idempotent, and engines return events for the driver to record;
//! - [`RunContext`] and [`Facts`]: the run, as an engine uses it; [`StepError`]: the reason why a step did not
//!   complete;
//! - [`EngineObserver`]: is notified of calls of an engine's interface;
//! - [`Member`], [`Node`], [`Status`], [`Owned`]: the state that an engine reports;
//! - `model` and `contract` (feature `model`): an engine in memory, and the suite that every engine passes;
//!   `growing` (the same feature): an engine whose containers write result files as a test demands.
//!
//! The crate must not use terms of a specific engine, and does not depend on Docker, HTTP or a store.
//! `atq-engine-swarm` implements it for Docker Swarm. `examples/contract.rs` runs the contract suite.
//!
//! ```
//! use atq_engine::Engine;
//! use atq_engine::model::Model;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), atq_engine::EngineError> {
//! let engine = Model::default();
//! let nodes = engine.nodes().await?;
//! assert_eq!(nodes.len(), 1);
//! assert!(nodes[0].ready);
//! # Ok(())
//! # }
//! ```

mod bundles;
#[cfg(any(test, feature = "model"))]
pub mod contract;
mod engine;
mod error;
#[cfg(any(test, feature = "model"))]
pub mod growing;
mod log;
mod machine;
mod member;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod node;
pub mod observer;
mod resolver;
mod results;
mod role;
mod run_context;
mod usage;

pub use atq_retry::Deadline;
pub use bundles::{BundleLimits, Bundles};
pub use engine::{Engine, Fetched, Part, ResourceGuard};
pub use error::EngineError;
pub use log::{LogLine, LogLines, LogQuery, LogStream};
pub use machine::{ImageDigests, Machine};
pub use member::{Member, Phase, Source};
pub use node::{JoinTokens, Node, Owned, RefusedRequest, Status};
pub use observer::EngineObserver;
pub use resolver::{ProbeRequest, Probed, Resolution, Resolver};
pub use results::{
    Append, Appended, NotFollowed, ReadProblem, Received, Renames, ResultsFollow, ResultsReceiver,
    ResultsSink, Stop, Tar, UpToDate,
};
pub use role::Role;
pub use run_context::{Facts, RunContext, StepError, StepResult};
pub use usage::{
    ContainerSample, CpuInterval, ResourceUsage, Target, Targets, UsageSink, UsageWatch,
};
