//! The requested state of a run and its expired limit: the inputs that end a run early.

use atq_task::state::{Desired, State};
use atq_task::terms::Expiry;

/// The requested state of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunControl {
    /// The requested state.
    pub desired: Desired,
    /// The client's limit that has expired.
    pub expired: Option<Expiry>,
}

impl RunControl {
    /// Whether the run is to end early.
    pub fn should_end(&self) -> bool {
        self.desired != Desired::Run || self.expired.is_some()
    }

    /// Whether force was requested and is not yet recorded in `state`: grace periods are skipped from now on.
    pub fn is_newly_forced(&self, state: &State) -> bool {
        self.desired.is_forced() && !state.forced
    }

    /// Whether the task is to be deleted.
    pub fn is_deleted(&self) -> bool {
        self.desired.is_deleted()
    }
}
