//! What a task is and what happens to it next: pure decisions, no IO and no clock.
//!
//! - [`spec`]: what the user asked for, valid by construction (crate `atq-definition`);
//! - [`event`]: what was recorded, past tense; the history of a run is the truth;
//! - [`state`]: the fold of a history;
//! - [`machine`]: `next` (state and event to state) and `decide` (state to action);
//! - [`terms`]: what its client asked for beside the definition;

pub use atq_definition::{criteria, image, spec};

pub mod event;
pub mod exit_code;
pub mod judge;
pub mod machine;
pub mod state;
pub mod terms;
pub mod timestamp;
pub mod verdict;

#[cfg(test)]
mod tests;
