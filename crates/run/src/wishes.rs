//! What somebody wishes for a task: that it stops, or that it is gone.

use super::limits::may_end;
use super::wait::Deadline;
use super::{Orchestrator, View};
use atq_store::StoreError;
use atq_task::spec::TaskName;
use atq_task::state::{Desired, State};
use atq_task::terms::Key;
use std::time::Duration;
use thiserror::Error;

/// How long a delete waits for the clean-up (ARCHITECTURE.md, Walk-throughs).
pub const DELETE_PATIENCE: Duration = Duration::from_secs(90);

/// Why a wish was not fulfilled.
#[derive(Debug, Error)]
pub enum WishError {
    /// There is no such task.
    #[error("there is no task `{name}`")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// Clean-up is not over.
    #[error("clean-up of `{name}` is not over: {what}\n(it goes on; DELETE again to wait for it)")]
    Remains {
        /// The task.
        name: TaskName,
        /// What is left and why.
        what: String,
    },
    /// The run was started by another client than the one that asks.
    #[error(
        "the run of `{name}` was started by another client, and goes on\n(a request without `Idempotency-Key` ends it all the same)"
    )]
    StartedByOther {
        /// The task.
        name: TaskName,
    },
    /// The run has no lease.
    #[error("the run of `{name}` has no lease\n(`PUT /task?lease=60s` asks for one)")]
    NoLease {
        /// The task.
        name: TaskName,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a task is to be ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// The key of the client that asks: with one it ends only what it has started.
    pub key: Option<Key>,
    /// Whether containers are killed at once.
    pub force: bool,
}

impl Orchestrator {
    /// Asks a task to end. Does not wait.
    ///
    /// # Errors
    /// When there is no such task or the store failed.
    pub async fn stop(&self, name: &TaskName) -> Result<View, WishError> {
        self.stop_by(name, &Ending::default()).await
    }

    /// The same for a client with a key, or by force. Force also speeds up an end that is under way.
    ///
    /// # Errors
    /// As [`Orchestrator::stop`], and when another client started the run.
    pub async fn stop_by(&self, name: &TaskName, ending: &Ending) -> Result<View, WishError> {
        let view = self.get(name).await?.ok_or_else(|| not_found(name))?;
        if view.state.outcome.is_none() || ending.force && !view.state.is_done() {
            check_key(&view, ending.key.as_ref())?;
            let desired = Desired::Stopped.by_force(ending.force);
            self.wish(name, desired).await?;
        }
        Ok(view)
    }

    /// Ends a task, removes everything of it and forgets it; waits for that up to
    /// [`DELETE_PATIENCE`]. It goes on when the caller goes away.
    ///
    /// # Errors
    /// When there is no such task, the store failed, or clean-up is not over.
    pub async fn delete(&self, name: &TaskName) -> Result<(), WishError> {
        self.delete_by(name, &Ending::default()).await
    }

    /// The same for a client with a key, or by force. With a key it deletes what is over, and what it has started.
    ///
    /// # Errors
    /// As [`Orchestrator::delete`], and when another client started the run.
    pub async fn delete_by(&self, name: &TaskName, ending: &Ending) -> Result<(), WishError> {
        let view = match self.get(name).await {
            Err(StoreError::Damaged { .. }) => {
                return self.delete_damaged(name, ending.force).await;
            }
            found => found?.ok_or_else(|| not_found(name))?,
        };
        if view.state.outcome.is_none() {
            check_key(&view, ending.key.as_ref())?;
        }
        let desired = Desired::Deleted.by_force(ending.force);
        self.wish(name, desired).await?;
        let deadline = Deadline::after(DELETE_PATIENCE);
        // The driver that is there may have come to its end just before the wish reached it; the
        // one after it knows of the wish from its beginning.
        for _ in 0..2 {
            self.drive(name)?;
            if let Some(mut ended) = self.ended(name) {
                // An error means that the driver is gone, which is what is waited for.
                let _ = tokio::time::timeout(deadline.left(), ended.wait_for(|ended| *ended)).await;
            }
            if self.get(name).await?.is_none() {
                return Ok(());
            }
        }
        match self.get(name).await? {
            None => Ok(()),
            Some(view) => Err(WishError::Remains {
                name: name.clone(),
                what: remains(&view.state),
            }),
        }
    }

    async fn wish(&self, name: &TaskName, desired: Desired) -> Result<(), StoreError> {
        let store = &self.shared.store;
        // `None`: the task has gone in between, which is more than was wished.
        let wanted = name.clone();
        let standing = store.reading(move |store| store.standing(&wanted));
        let Some(standing) = standing.await? else {
            return Ok(());
        };
        let Some(wish) = store.wish(name, standing.desired.and(desired)).await? else {
            return Ok(());
        };
        if let Some(live) = self.lock().get(name) {
            // Two wishes may pass each other between the store and here.
            live.steering.send_modify(|steering| {
                steering.desired = wish.and(steering.desired);
            });
        }
        Ok(())
    }
}

/// A client ends only what it has started itself, unless it gives no key.
fn check_key(view: &View, key: Option<&Key>) -> Result<(), WishError> {
    match may_end(&view.state.terms, key) {
        true => Ok(()),
        false => Err(WishError::StartedByOther {
            name: view.spec.name.clone(),
        }),
    }
}

/// There is no such task.
pub(super) fn not_found(name: &TaskName) -> WishError {
    WishError::NotFound {
        name: name.to_string(),
    }
}

fn remains(state: &State) -> String {
    match state.leftovers.is_empty() {
        true => format!("it is in step `{}`", state.step.as_str()),
        false => state.leftovers.join("; "),
    }
}
