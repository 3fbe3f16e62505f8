//! The model of a task and the decision about its next action: pure, no I/O and no clock.
//!
//! - [`spec`]: the definition, valid by construction (crate `atq-definition`);
//! - [`event`]: recorded events, in the past tense; the history of a run is authoritative;
//! - [`state`]: the fold of a history;
//! - [`machine`]: `next` (state and event to state) and `decide` (state to action);
//! - [`terms`]: options of the client's request that are not part of the definition;
//! - [`verdict`]: the verdict on a run; [`rules`]: the rules that lead to it.

pub use atq_definition::{criteria, image, spec};

pub mod event;
pub mod exit_code;
pub mod machine;
pub mod rules;
pub mod state;
pub mod terms;
pub mod timestamp;
pub mod verdict;

#[cfg(test)]
mod tests;
