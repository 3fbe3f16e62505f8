//! The way out for a task of which the store cannot read everything: its objects are found
//! by their labels, and that is enough to remove them.

use super::Orchestrator;
use super::wait::Deadline;
use super::wishes::{DELETE_PATIENCE, WishError, not_found};
use atq_store::StoreError;
use atq_task::spec::TaskName;
use atq_task::state::Desired;
use std::time::Duration;

/// The driver may have used up the patience of the client; containers are killed all the same.
const SHORTEST: Duration = Duration::from_secs(10);

impl Orchestrator {
    /// Removes everything of a damaged task and forgets it.
    ///
    /// # Errors
    /// When the store failed, or clean-up is not over.
    pub(super) async fn delete_damaged(
        &self,
        name: &TaskName,
        force: bool,
    ) -> Result<(), WishError> {
        let deadline = Deadline::after(DELETE_PATIENCE);
        // One after the other: after the first, the name may be that of a new task.
        let _deleting = self.deleting.lock().await;
        match self.get(name).await {
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(not_found(name)),
        }
        self.end_driver(name, Desired::Deleted.by_force(force), &deadline)
            .await;
        // The driver may have removed and forgotten everything. Then what goes by this name is new.
        if !matches!(self.get(name).await, Err(StoreError::Damaged { .. })) {
            return Ok(());
        }
        let removed = self.shared.engine.release_task(name, force);
        let left = tokio::time::timeout(deadline.left().max(SHORTEST), removed)
            .await
            .unwrap_or_else(|_| vec!["its removal is not over".to_owned()]);
        let remains = |what: String| WishError::Remains {
            name: name.clone(),
            what,
        };
        if !left.is_empty() {
            return Err(remains(left.join("; ")));
        }
        if let Err(error) = self.shared.evidence.remove(name).await {
            return Err(remains(format!("its logs cannot be removed: {error}")));
        }
        self.shared.store.remove(name).await?;
        tracing::warn!(task = %name, "a damaged task was deleted");
        Ok(())
    }

    /// A task may have been under way when it was damaged. Its driver cannot read its wish any more.
    async fn end_driver(&self, name: &TaskName, desired: Desired, deadline: &Deadline) {
        let ended = self.lock().get(name).map(|live| {
            live.steering
                .send_modify(|steering| steering.desired = steering.desired.and(desired));
            live.ended.clone()
        });
        if let Some(mut ended) = ended {
            // An error means that the driver is gone, which is what is waited for.
            let _ = tokio::time::timeout(deadline.left(), ended.wait_for(|ended| *ended)).await;
        }
    }
}
