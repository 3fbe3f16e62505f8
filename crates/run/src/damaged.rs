//! Deletion of damaged tasks, whose records the store cannot read. The labels of their objects suffice to remove
//! them.

use super::Orchestrator;
use super::interruption::Deadline;
use super::stop_and_delete::{ControlError, DELETE_TIMEOUT, not_found};
use atq_store::StoreError;
use atq_task::spec::TaskName;
use atq_task::state::Desired;
use std::time::Duration;

/// Minimum time for the removal, even if the driver has used up the timeout of the request.
const MIN_REMOVAL_TIME: Duration = Duration::from_secs(10);

impl Orchestrator {
    /// Removes all objects and the record of a damaged task.
    ///
    /// # Errors
    /// When the store failed, or clean-up is not complete.
    pub(super) async fn delete_damaged(
        &self,
        name: &TaskName,
        force: bool,
    ) -> Result<(), ControlError> {
        let deadline = Deadline::after(DELETE_TIMEOUT);
        // Serialized: after the first deletion, the name may belong to a new task.
        let _deleting = self.deleting.lock().await;
        match self.get(name).await {
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(not_found(name)),
        }
        self.end_driver(name, Desired::Deleted.by_force(force), &deadline)
            .await;
        // If the driver has removed everything, the name is free, or belongs to a new task.
        if !matches!(self.get(name).await, Err(StoreError::Damaged { .. })) {
            return Ok(());
        }
        let removed = self.shared.engine.release_task(name, force);
        let left = tokio::time::timeout(deadline.left().max(MIN_REMOVAL_TIME), removed)
            .await
            .unwrap_or_else(|_| vec!["its removal is not complete".to_owned()]);
        let remains = |what: String| ControlError::Remains {
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
        tracing::warn!(task = %name, "damaged task deleted");
        Ok(())
    }

    /// Ends the driver of a task that was damaged while it ran. Such a driver cannot read the request from the store.
    async fn end_driver(&self, name: &TaskName, desired: Desired, deadline: &Deadline) {
        if let Some(active) = self.active.lock().get(name) {
            let control = &active.control;
            control.send_modify(|control| control.desired = control.desired.and(desired));
        }
        self.wait_for_driver(name, deadline).await;
    }
}
