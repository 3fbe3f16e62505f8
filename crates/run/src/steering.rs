//! Where a run is steered by those who may end it.

use atq_task::state::{Desired, State};
use atq_task::terms::Expiry;

/// Where a run is steered now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steering {
    /// What somebody wishes.
    pub desired: Desired,
    /// The limit of its client that is reached.
    pub expired: Option<Expiry>,
}

impl Steering {
    /// Whether the run is to end.
    pub fn ends(&self) -> bool {
        self.desired != Desired::Run || self.expired.is_some()
    }

    /// Whether grace periods are to be skipped, of a run in which they are not yet.
    pub fn hastens(&self, state: &State) -> bool {
        self.desired.is_forced() && !state.forced
    }

    /// Whether nobody wants to know anything of it any more.
    pub fn is_deleted(&self) -> bool {
        self.desired.is_deleted()
    }
}
