//! Definitions of load tests: parsing and validation. The crate is pure, so that the Director and the
//! command line report the same faults.
//!
//! - [`spec`]: definitions that are valid by construction, and the faults of invalid ones;
//! - [`criteria`]: pass criteria of a run;
//! - [`image`]: image references.

pub mod criteria;
#[cfg(any(test, feature = "examples"))]
pub mod examples;
pub mod image;
pub mod spec;
mod wording;

#[cfg(test)]
mod tests;
