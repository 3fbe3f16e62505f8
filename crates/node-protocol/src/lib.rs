//! The messages between the Director and its two helpers, declared once for both sides:
//!
//! - [`order`]: what a carrier is to do on its node, in its command line and environment;
//! - [`outcome`]: its last line on stdout;
//! - [`load`]: how busy a node is, which a carrier posts to the Director;
//! - [`probe`]: the question whether workers are ready, which the Director asks the sidecar in the task's network.
//!
//! The images of carrier and sidecar may be older or newer than the Director: new members are optional, and unknown ones are
//! ignored.

pub mod load;
pub mod order;
pub mod outcome;
pub mod probe;
