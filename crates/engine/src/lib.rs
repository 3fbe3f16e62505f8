//! What an engine of containers gives the Director, in the words of a run.

mod error;
mod log;
mod machine;
mod role;

pub use error::EngineError;
pub use log::{LogLine, LogLines, LogQuery, LogStream};
pub use machine::{ImageDigests, Machine};
pub use role::Role;
