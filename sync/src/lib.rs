//! Starts a tool that has no master of its own on all workers of a task at one instant.
//!
//! A [`worker`] waits for a master, gets a share, starts its tool at the agreed instant, and reports its end. The [`master`]
//! connects to all workers, compares their clocks with its own, divides the totals, agrees on the instant, measures how far
//! apart the tools started, and ends with the worst exit code.
//!
//! The connection ([`protocol`]) carries an instant and a share, never a command: what runs on a worker is decided by the arguments
//! of its own container.
//!
//! Pure: [`share`], [`placeholder`], [`clock`], [`exit`], [`protocol`], [`master::summary`]. The crate must not depend on the
//! Director or an engine.

pub mod args;
pub mod clock;
pub mod connection;
pub mod exec_at;
pub mod exit;
pub mod limits;
pub mod master;
pub mod output;
pub mod placeholder;
pub mod protocol;
pub mod share;
pub mod signals;
pub mod worker;
