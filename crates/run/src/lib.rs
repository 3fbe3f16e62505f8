//! From a valid definition to an end that leaves nothing behind.
//!
//! - [`Orchestrator`]: the API calls it ([`submit`], [`wishes`]); it stores and looks, and waits for
//!   the engine only where the contract demands it;
//! - [`driver`]: one loop for each task: decide, act, record;
//! - [`steps`]: the work of each step; [`wait`]: deadlines; [`cleanup`]: the removal;
//! - [`bundles`]: the removal of bundles;
//! - [`limits`]: the timeout and the lease that the client of a run has set;
//! - [`queue`]: whose turn it is; [`health`]: whether the engine can be used; [`recover`]: the
//!   start; [`orphans`]: objects of tasks that are not in the store; `damaged`: the way out for
//!   tasks that cannot be read.

pub mod bundles;
mod cleanup;
pub mod clock;
mod damaged;
pub mod driver;
pub mod events;
pub mod follow;
pub mod health;
pub mod intake;
pub mod limits;
pub mod load;
pub mod logs;
mod manifest;
pub mod orphans;
pub mod queue;
pub mod recover;
pub mod reported;
pub mod retention;
pub mod run;
pub mod settings;
pub mod shared;
pub mod steering;
pub mod steps;
pub mod submit;
pub mod wait;
pub mod wishes;

pub use settings::Settings;
pub use shared::Shared;
pub use steering::Steering;

use atq_engine::Facts;
use atq_store::{Standing, StoreError, Stored};
use atq_task::event::{Event, Failure, FailureCode, Record, WorkerSeen};
use atq_task::machine;
use atq_task::spec::{TaskName, TaskSpec};
use atq_task::state::{State, Step};
use atq_task::timestamp::Timestamp;
use futures_util::FutureExt;
use limits::Limits;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// A task that has a driver.
struct Live {
    steering: watch::Sender<Steering>,
    limits: Arc<Limits>,
    workers: Arc<Mutex<Vec<WorkerSeen>>>,
    ended: watch::Receiver<bool>,
}

impl Live {
    /// Whether the driver is there. One that panicked has not said that it ended.
    fn is_driven(&self) -> bool {
        !*self.ended.borrow() && self.ended.has_changed().is_ok()
    }
}

/// A task as the API shows it.
#[derive(Debug, Clone)]
pub struct View {
    /// The definition.
    pub spec: TaskSpec,
    /// What is known about the run.
    pub state: State,
    /// The workers as last seen.
    pub workers: Vec<WorkerSeen>,
    /// Place in the queue, from 1.
    pub queue_position: Option<u32>,
    /// When the lease of its client expires; `None`: it has none, or is over.
    pub lease_expires: Option<Timestamp>,
    /// Now, so that the view can be judged without a clock.
    pub now: Timestamp,
}

impl View {
    /// The run, for the engine.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            spec: &self.spec,
            state: &self.state,
        }
    }
}

/// A task in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// When its definition was accepted.
    pub created_at: Timestamp,
    /// Its name.
    pub name: TaskName,
}

/// What the API calls. Cheap to clone.
#[derive(Clone)]
pub struct Orchestrator {
    shared: Arc<Shared>,
    live: Arc<Mutex<HashMap<TaskName, Live>>>,
    /// Held while a damaged task is deleted.
    deleting: Arc<tokio::sync::Mutex<()>>,
    last_arrival: Arc<Mutex<Timestamp>>,
    /// Whether the process is about to end.
    closing: Arc<watch::Sender<bool>>,
}

impl Orchestrator {
    /// An orchestrator that drives nothing yet; [`Orchestrator::recover`] takes up earlier tasks.
    pub fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            live: Arc::default(),
            deleting: Arc::default(),
            last_arrival: Arc::new(Mutex::new(Timestamp(0))),
            closing: Arc::default(),
        }
    }

    /// Sends those away who follow events and logs: the process is about to end.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// What drivers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The task with this name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, name: &TaskName) -> Result<Option<View>, StoreError> {
        let wanted = name.clone();
        let read = self.shared.store.reading(move |store| store.load(&wanted));
        Ok(read.await?.map(|stored| self.view(stored)))
    }

    /// The task with this name as lists show it: without the environments of its services.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get_brief(&self, name: &TaskName) -> Result<Option<View>, StoreError> {
        let wanted = name.clone();
        let read = self
            .shared
            .store
            .reading(move |store| store.load_brief(&wanted));
        Ok(read.await?.map(|stored| self.view(stored)))
    }

    /// The tasks that can be read and are `wanted`, newest first. No definition is read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(
        &self,
        wanted: impl Fn(&State, Timestamp) -> bool + Send + 'static,
    ) -> Result<Vec<Listed>, StoreError> {
        let now = self.shared.clock.now();
        let read = self.shared.store.reading(move |store| {
            let mut listed = Vec::new();
            store.each_standing(|name, Standing { state, .. }| {
                if wanted(&state, now) {
                    listed.push(Listed {
                        created_at: state.created_at,
                        name: name.clone(),
                    });
                }
            })?;
            Ok(listed)
        });
        let mut listed = read.await?;
        listed.sort_by(|a, b| {
            let newest_first = b.created_at.cmp(&a.created_at);
            newest_first.then_with(|| a.name.cmp(&b.name))
        });
        Ok(listed)
    }

    /// The history of a task; empty when there is no such task.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(&self, name: &TaskName) -> Result<Vec<Record>, StoreError> {
        let name = name.clone();
        let read = self.shared.store.reading(move |store| store.history(&name));
        read.await
    }

    /// Gives a task a driver, unless it has one.
    fn drive(&self, name: &TaskName) -> Result<(), StoreError> {
        let mut live = self.lock();
        if live.get(name).is_some_and(Live::is_driven) {
            return Ok(());
        }
        let Some(mut stored) = self.shared.store.load(name)? else {
            return Ok(());
        };
        if stored.state.step == Step::Queued {
            run::leave_in_the_store(&mut stored.spec);
        }
        let (steering, wishes) = watch::channel(Steering {
            desired: stored.desired,
            expired: None,
        });
        let limits = Arc::new(Limits::new(&stored.state, self.shared.clock));
        let (end, ended) = watch::channel(false);
        let workers = Arc::new(Mutex::new(stored.state.workers.clone()));
        if stored.state.step == Step::Queued {
            self.shared
                .queue
                .join(&stored.spec, stored.state.created_at);
        }
        live.insert(
            name.clone(),
            Live {
                steering: steering.clone(),
                limits: Arc::clone(&limits),
                workers: Arc::clone(&workers),
                ended,
            },
        );
        let run = run::Run::new(Arc::clone(&self.shared), stored, wishes, workers);
        let (name, this) = (name.clone(), self.clone());
        tokio::spawn(async move {
            let driven = tokio::select! {
                driven = AssertUnwindSafe(driver::drive(run)).catch_unwind() => driven,
                never = limits.enforce(steering) => match never {},
            };
            this.lock().remove(&name);
            end.send_replace(true);
            if driven.is_err() {
                this.after_panic(&name).await;
            }
        });
        Ok(())
    }

    /// A driver that panics is a bug, but the task must still come to an end, and what it has created
    /// must go: the failure is recorded, and another driver does the rest. One that panics after that
    /// is left to the sweep.
    async fn after_panic(&self, name: &TaskName) {
        tracing::error!(task = %name, "the task's driver panicked; this is a bug");
        let failed = async {
            let Some(stored) = self.shared.store.load(name)? else {
                return Ok(());
            };
            let state = stored.state;
            let failure = Failure {
                step: state.step,
                code: FailureCode::Internal,
                message: "the Director itself failed in this step".to_owned(),
                hint: "this is a bug; the Director's log says more".to_owned(),
            };
            let record = Record {
                seq: state.seq + 1,
                at: self.shared.clock.now(),
                event: Event::Failed { failure },
            };
            // Past its outcome a task cannot fail any more.
            let Ok(after) = machine::next(state, &record) else {
                return Ok(());
            };
            self.shared.store.append(name, &record, &after).await?;
            self.drive(name)
        };
        if let Err(error) = failed.await {
            tracing::error!(task = %name, %error, "the failure cannot be recorded; it is tried again");
        }
    }

    fn ended(&self, name: &TaskName) -> Option<watch::Receiver<bool>> {
        self.lock().get(name).map(|live| live.ended.clone())
    }

    fn view(&self, stored: Stored) -> View {
        let (seen, limits) = match self.lock().get(&stored.spec.name) {
            Some(live) => (
                Some(Arc::clone(&live.workers)),
                Some(Arc::clone(&live.limits)),
            ),
            None => (None, None),
        };
        let limits = limits.filter(|_| stored.state.outcome.is_none());
        let workers = match seen {
            Some(workers) => workers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            None => stored.state.workers.clone(),
        };
        let queue_position = match stored.state.step {
            Step::Queued => self.shared.queue.position(&stored.spec.name),
            _ => None,
        };
        View {
            spec: stored.spec,
            state: stored.state,
            workers,
            queue_position,
            lease_expires: limits.and_then(|limits| limits.lease_expires()),
            now: self.shared.clock.now(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TaskName, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
