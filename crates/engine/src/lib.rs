//! The interface to a container engine, in terms of runs: [`Engine`].

mod bundles;
#[cfg(any(test, feature = "model"))]
pub mod contract;
mod engine;
mod error;
mod log;
mod machine;
mod member;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod node;
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
pub use node::{JoinTokens, Node, Owned, Status};
pub use resolver::{ProbeRequest, Probed, Resolution, Resolver};
pub use results::{ResultsReceiver, Stop, Tar};
pub use role::Role;
pub use run_context::{Facts, RunContext, StepError, StepResult};
pub use usage::{Target, Targets, UsageSink, UsageWatch};
