//! What happens at start: every task that is not at its end gets a driver again, in the order in
//! which they came. Their steps are idempotent, so it does not matter where they were cut off.

use super::Orchestrator;
use crate::store::{StoreError, Stored};
use crate::task::state::{Desired, Step};
use std::time::Duration;

/// Time between two tries at what clean-up has left.
const SWEEP: Duration = Duration::from_secs(300);

impl Orchestrator {
    /// Takes up all tasks that are not at their end; gives their number.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        let store = self.shared.store.clone();
        let mut open = tokio::task::spawn_blocking(move || {
            store.repair()?;
            open_tasks(&store)
        })
        .await
        .map_err(|error| StoreError::Io(error.to_string()))??;
        // Those that are under way first, so that none that waits takes their place or their claim.
        open.sort_by_key(|stored| (stored.state.step == Step::Queued, stored.state.created_at));
        for stored in &open {
            tracing::info!(task = %stored.spec.name, step = stored.state.step.as_str(), "taking up an earlier task");
            self.drive(&stored.spec.name)?;
        }
        Ok(open.len())
    }

    /// Gives a driver again and again to tasks that need one and have none: above all those of which
    /// clean-up has left something. Never returns.
    pub async fn sweep(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let swept = open_tasks(&self.shared.store).and_then(|open| {
                open.iter()
                    .try_for_each(|stored| self.drive(&stored.spec.name))
            });
            if let Err(error) = swept {
                tracing::error!(%error, "cannot look for what clean-up has left");
            }
        }
    }
}

fn open_tasks(store: &crate::store::Store) -> Result<Vec<Stored>, StoreError> {
    let mut open = Vec::new();
    for name in store.names()? {
        open.extend(store.load(&name)?.filter(is_open));
    }
    Ok(open)
}

fn is_open(stored: &Stored) -> bool {
    !stored.state.is_done()
        || stored.desired == Desired::Deleted
        || !stored.state.leftovers.is_empty()
}
