//! The model of a task and the decision about its next action.
//!
//! - [`spec`]: the definition, valid by construction (crate `atq-definition`);
//! - [`event`]: recorded events, in the past tense; the history of a run is authoritative;
//! - [`state`]: [`State`](state::State), the fold of a history;
//! - [`machine`]: [`next`](machine::next) (state and event to state) and [`decide`](machine::decide) (state to action);
//! - [`terms`]: options of the client's request that are not part of the definition;
//! - [`verdict`]: the verdict on a run; [`rules`]: the rules that lead to it.
//!
//! The crate is pure: no I/O, no clock, no random numbers, no async runtime. Times are arguments.
//!
//! ```
//! use atq_task::event::{Event, Record};
//! use atq_task::machine::{Action, decide, fold};
//! use atq_task::state::{Desired, Step};
//! use atq_task::terms::Terms;
//! use atq_task::timestamp::Timestamp;
//! # let spec = atq_definition::examples::parse(&atq_definition::examples::payload(&[])).unwrap();
//!
//! let queued = Event::Queued {
//!     run: "k3v9".to_owned(),
//!     token: "secret".to_owned(),
//!     terms: Terms::default(),
//! };
//! let history = [Record { seq: 1, at: Timestamp(0), by: None, event: queued }];
//! let state = fold(&history)?;
//! assert_eq!(decide(&state, &spec, Desired::Run), Action::Perform(Step::Queued));
//! assert_eq!(decide(&state, &spec, Desired::Stopped), Action::Record(Event::Stopped));
//! # Ok::<(), atq_task::machine::BadHistory>(())
//! ```

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
