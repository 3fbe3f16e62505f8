//! The interface to a container engine, in terms of runs: [`Engine`].

#[cfg(any(test, feature = "model"))]
pub mod contract;
mod course;
mod engine;
mod error;
mod log;
mod machine;
mod member;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod parts;
mod role;

pub use atq_patience::Deadline;
pub use course::{Course, Facts, StepError, StepResult};
pub use engine::{Engine, Fetched, Holding, Part};
pub use error::EngineError;
pub use log::{LogLine, LogLines, LogQuery, LogStream};
pub use machine::{ImageDigests, Machine};
pub use member::{Member, Phase, Source};
pub use parts::{
    Asking, BundleLimits, Bundles, Gauge, JoinTokens, LookedUp, Lookout, Node, Owned, Probed,
    Status, Stop, Taker, Tar, Target, Targets, UsageWatch,
};
pub use role::Role;
