//! Watching a test until its end.
//!
//! - [`watch`]: the main loop; [`follow`]: streams of events, state and log lines, resumed after lost connections;
//! - [`live`]: the stream of figures; [`console`]: how they are shown; [`throughput`]: throughput and errors in the output
//!   of test tools, for a test without figures; [`display`]: the live display; [`step`]: the steps in words;
//! - [`invocation`]: the idempotency key and the limits of this run; `lease`: renewing the lease;
//! - [`interrupt`]: Ctrl-C and signals; [`ending`]: the exit code; [`summary`]: the final lines;
//! - [`outputs`]: the files written at the end.

pub mod console;
pub mod display;
pub mod ending;
pub mod follow;
pub mod interrupt;
pub mod invocation;
mod lease;
pub mod live;
pub mod outputs;
pub mod step;
pub mod summary;
pub mod throughput;
pub mod watch;

#[cfg(test)]
mod tests;
