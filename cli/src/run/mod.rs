//! Watching a test to its end: what is heard of it, what is shown of it, what a human says about it, and
//! what its end means.
//!
//! - [`watch`]: the loop; [`follow`]: events, state and log lines as they come, over lost connections;
//! - [`load`]: throughput and errors in the lines of test tools; [`live`]: what is shown meanwhile;
//! - [`invocation`]: the key and the limits of this run; [`lease`]: its renewal;
//! - [`human`]: Ctrl-C and signals; [`ending`]: the exit code; [`closing`]: the last lines;
//! - [`outputs`]: the files that are written in the end.

pub mod closing;
pub mod ending;
pub mod follow;
pub mod human;
pub mod invocation;
mod lease;
pub mod live;
pub mod load;
pub mod outputs;
pub mod watch;

#[cfg(test)]
mod tests;
