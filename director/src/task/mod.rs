//! What a task is and what happens to it next: pure decisions, no IO and no clock.
//!
//! - [`spec`]: what the user asked for, valid by construction;
//! - [`event`]: what was recorded, past tense; the history of a run is the truth;
//! - [`state`]: the fold of a history;
//! - [`machine`]: `next` (state and event to state) and `decide` (state to action);
//! - [`plan`]: the names, labels and descriptions of everything that is created in Docker.

pub mod criteria;
pub mod event;
pub mod exit_code;
pub mod image;
pub mod judge;
pub mod machine;
pub mod plan;
pub mod spec;
pub mod state;
pub mod timestamp;
pub mod verdict;
pub mod volumes;

#[cfg(test)]
pub(crate) mod tests;
