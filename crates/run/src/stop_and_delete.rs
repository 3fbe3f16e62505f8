//! Requests to stop or delete a task.

use super::interruption::Deadline;
use super::{Orchestrator, View};
use atq_store::{Store, StoreError};
use atq_task::spec::TaskName;
use atq_task::state::{Desired, State};
use atq_task::terms::Key;
use std::time::Duration;
use thiserror::Error;

/// Timeout of a delete that waits for the clean-up (ARCHITECTURE.md, Walk-throughs).
pub const DELETE_TIMEOUT: Duration = Duration::from_secs(90);

/// Errors of requests that control a run: stop, delete, renewal of the lease.
#[derive(Debug, Error)]
pub enum ControlError {
    /// There is no such task.
    #[error("there is no task `{name}`")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// Clean-up is not complete.
    #[error(
        "clean-up of `{name}` is not complete: {what}\n(it continues; DELETE again to wait for it)"
    )]
    Remains {
        /// The task.
        name: TaskName,
        /// Remaining objects and the reasons.
        what: String,
    },
    /// Another client started the run.
    #[error(
        "the run of `{name}` was started by another client and continues\n(a request without `Idempotency-Key` ends it)"
    )]
    StartedByOther {
        /// The task.
        name: TaskName,
    },
    /// The run has no lease.
    #[error("the run of `{name}` has no lease\n(`PUT /task?lease=60s` sets one)")]
    NoLease {
        /// The task.
        name: TaskName,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Options of a stop or delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// The key of the client. A request with a key ends only runs that were started with it.
    pub key: Option<Key>,
    /// Whether containers are killed without grace period.
    pub force: bool,
    /// Name of the client, if it was identified.
    pub by: Option<String>,
}

impl Orchestrator {
    /// Stops a task. Does not wait.
    ///
    /// # Errors
    /// When there is no such task or the store failed.
    pub async fn stop(&self, name: &TaskName) -> Result<View, ControlError> {
        self.stop_with(name, &StopOptions::default()).await
    }

    /// Stops a task with options. Force also applies to a stop in progress.
    ///
    /// # Errors
    /// As [`Orchestrator::stop`]; also when another client started the run.
    pub async fn stop_with(
        &self,
        name: &TaskName,
        options: &StopOptions,
    ) -> Result<View, ControlError> {
        let view = self.get(name).await?.ok_or_else(|| not_found(name))?;
        if view.state.outcome.is_none() || options.force && !view.state.is_done() {
            check_key(&view, options.key.as_ref())?;
            let desired = Desired::Stopped.by_force(options.force);
            self.request(name, desired, options.by.clone()).await?;
        }
        Ok(view)
    }

    /// Ends a task, removes all its objects and its record, and waits for that up to [`DELETE_TIMEOUT`]. The removal
    /// continues if the caller disconnects.
    ///
    /// # Errors
    /// When there is no such task, the store failed, or clean-up is not complete.
    pub async fn delete(&self, name: &TaskName) -> Result<(), ControlError> {
        self.delete_with(name, &StopOptions::default()).await
    }

    /// Deletes a task with options. A client with a key may delete its own runs and completed ones.
    ///
    /// # Errors
    /// As [`Orchestrator::delete`]; also when another client started the run.
    pub async fn delete_with(
        &self,
        name: &TaskName,
        options: &StopOptions,
    ) -> Result<(), ControlError> {
        let view = match self.get(name).await {
            Err(StoreError::Damaged { .. }) => {
                return self.delete_damaged(name, options.force).await;
            }
            found => found?.ok_or_else(|| not_found(name))?,
        };
        if view.state.outcome.is_none() {
            check_key(&view, options.key.as_ref())?;
        }
        let desired = Desired::Deleted.by_force(options.force);
        self.request(name, desired, options.by.clone()).await?;
        let deadline = Deadline::after(DELETE_TIMEOUT);
        // The current driver may have ended just before the request reached it; the next one starts with the
        // request.
        for _ in 0..2 {
            self.drive(name)?;
            self.wait_for_driver(name, &deadline).await;
            if self.get(name).await?.is_none() {
                return Ok(());
            }
        }
        match self.get(name).await? {
            None => Ok(()),
            Some(view) => Err(ControlError::Remains {
                name: name.clone(),
                what: remains(&view.state),
            }),
        }
    }

    /// Waits until the driver of the task has ended, if it has one.
    pub(super) async fn wait_for_driver(&self, name: &TaskName, deadline: &Deadline) {
        let ended = self.active.lock().get(name).map(|one| one.ended.clone());
        if let Some(mut ended) = ended {
            // An error means that the driver has ended, which is the condition.
            let _ = tokio::time::timeout(deadline.left(), ended.wait_for(|ended| *ended)).await;
        }
    }

    async fn request(
        &self,
        name: &TaskName,
        desired: Desired,
        by: Option<String>,
    ) -> Result<(), StoreError> {
        let store = &self.shared.store;
        // `None`: the task was deleted in between.
        let Some(task) = store.read_task(name, Store::load_state).await? else {
            return Ok(());
        };
        let Some(stored) = store
            .set_desired_by(name, task.desired.and(desired), by)
            .await?
        else {
            return Ok(());
        };
        if let Some(active) = self.active.lock().get(name) {
            // Two concurrent requests may arrive here in another order than in the store.
            active.control.send_modify(|control| {
                control.desired = stored.and(control.desired);
            });
        }
        Ok(())
    }
}

/// A client with a key ends only its own runs. Requests without a key may end every run.
pub(super) fn check_key(view: &View, key: Option<&Key>) -> Result<(), ControlError> {
    match key.is_none() || view.state.terms.key.as_ref() == key {
        true => Ok(()),
        false => Err(ControlError::StartedByOther {
            name: view.spec.name.clone(),
        }),
    }
}

/// The error for an unknown task.
pub(super) fn not_found(name: &TaskName) -> ControlError {
    ControlError::NotFound {
        name: name.to_string(),
    }
}

fn remains(state: &State) -> String {
    match state.leftovers.is_empty() {
        true => format!("the run is in step `{}`", state.step.as_str()),
        false => state.leftovers.join("; "),
    }
}
