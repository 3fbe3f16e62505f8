//! Messages between the Director, the carrier and the sidecar, declared once for both sides:
//!
//! - [`order`]: the order for a carrier, in its command line and environment;
//! - [`outcome`]: the final report of a carrier on stdout;
//! - [`load`]: CPU usage of a node, posted by a carrier to the Director;
//! - [`probe`]: readiness probes of workers, sent by the Director to the sidecar in the task's network.
//!
//! The images of carrier and sidecar may be older or newer than the Director. New fields are therefore optional, and unknown
//! fields are ignored.

pub mod load;
pub mod order;
pub mod outcome;
pub mod probe;
