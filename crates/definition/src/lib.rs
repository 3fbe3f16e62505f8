//! What a definition of a load test may say, and what it means: pure, so that the Director and its
//! command line find the same faults in it.
//!
//! - [`spec`]: a definition that is valid by construction, and every fault of one that is not;
//! - [`criteria`]: what a run must fulfil to pass;
//! - [`image`]: references of images.

pub mod criteria;
#[cfg(any(test, feature = "examples"))]
pub mod examples;
pub mod image;
pub mod spec;
mod wording;

#[cfg(test)]
mod tests;
