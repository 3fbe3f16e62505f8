//! Watching a test until its end.
//!
//! - [`watch`]: the main loop; [`follow`]: streams of events, state and log lines, resumed after lost connections;
//! - [`throughput`]: parsing throughput and errors from the output of test tools; [`display`]: the live display;
//! - [`invocation`]: the idempotency key and the limits of this run; `lease`: renewing the lease;
//! - [`interrupt`]: Ctrl-C and signals; [`ending`]: the exit code; [`summary`]: the final lines;
//! - [`outputs`]: the files written at the end.

pub mod display;
pub mod ending;
pub mod follow;
pub mod interrupt;
pub mod invocation;
mod lease;
pub mod outputs;
pub mod summary;
pub mod throughput;
pub mod watch;

#[cfg(test)]
mod tests;
