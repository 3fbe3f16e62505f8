//! Executes tasks: from a valid definition to a complete clean-up.
//!
//! - [`Orchestrator`]: the interface for the API ([`submit`], [`stop_and_delete`]). It reads and writes the store, and
//!   waits for the engine only where the contract requires it;
//! - [`driver`]: one loop for each task: decide, act, record;
//! - [`steps`]: the work of each step; [`interruption`]: interruptible sleeps; `cleanup`: the removal of objects;
//! - [`bundles`]: the removal of bundles;
//! - [`limits`]: the timeout and the lease set by the client of a run;
//! - [`live`]: figures while a test runs; [`live_updates`]: these figures and the state of the task, for the API;
//! - [`queue`]: the queue of tasks; [`health`]: the status of the engine; [`recover`]: resumes tasks at start;
//!   [`orphans`]: objects of tasks that are not in the store; `damaged`: deletion of unreadable tasks.
//!
//! The crate uses containers through the trait [`Engine`](atq_engine::Engine) only. It must not depend on Docker, HTTP or
//! a specific engine.

pub mod await_report;
pub mod bundles;
mod cleanup;
pub mod clock;
pub mod control;
mod damaged;
pub mod driver;
pub mod events;
pub mod follow;
pub mod health;
pub mod ingest;
pub mod interruption;
pub mod limits;
pub mod live;
pub mod live_updates;
pub mod logs;
mod manifest;
pub mod orphans;
pub mod queue;
pub mod recover;
pub mod retention;
pub mod run;
pub mod settings;
pub mod shared;
pub mod steps;
pub mod stop_and_delete;
pub mod submit;
pub mod usage;

pub use control::RunControl;
pub use settings::Settings;
pub use shared::Shared;

use atq_engine::Facts;
use atq_store::{Store, StoreError, Stored, StoredState};
use atq_task::event::{Event, Failure, FailureCode, Record, WorkerStatus};
use atq_task::machine;
use atq_task::spec::{TaskName, TaskSpec};
use atq_task::state::{State, Step};
use atq_task::timestamp::Timestamp;
use futures_util::FutureExt;
use limits::Limits;
use live::LiveRun;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::watch;

/// A task with a driver.
struct ActiveTask {
    control: watch::Sender<RunControl>,
    limits: Arc<Limits>,
    workers: Arc<Mutex<Vec<WorkerStatus>>>,
    live: Arc<LiveRun>,
    ended: watch::Receiver<bool>,
}

impl ActiveTask {
    /// Whether the driver runs. A driver that panicked has dropped its sender.
    fn has_driver(&self) -> bool {
        !*self.ended.borrow() && self.ended.has_changed().is_ok()
    }
}

/// The view of a task for the API.
#[derive(Debug, Clone)]
pub struct View {
    /// The definition.
    pub spec: TaskSpec,
    /// The state of the run.
    pub state: State,
    /// The last known status of the workers.
    pub workers: Vec<WorkerStatus>,
    /// Position in the queue, from 1.
    pub queue_position: Option<u32>,
    /// Expiry of the client's lease; `None` without a lease or when the run has ended.
    pub lease_expires: Option<Timestamp>,
    /// The time of the view.
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

/// An entry of the list of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Time at which the definition was accepted.
    pub created_at: Timestamp,
    /// Its name.
    pub name: TaskName,
}

/// The interface for the API. Cheap to clone.
#[derive(Clone)]
pub struct Orchestrator {
    shared: Arc<Shared>,
    active: Arc<Mutex<HashMap<TaskName, ActiveTask>>>,
    /// Locked while a damaged task is deleted.
    deleting: Arc<tokio::sync::Mutex<()>>,
    last_arrival: Arc<Mutex<Timestamp>>,
    /// Whether the process shuts down.
    closing: Arc<watch::Sender<bool>>,
}

impl Orchestrator {
    /// An orchestrator without drivers; [`Orchestrator::recover`] resumes earlier tasks.
    pub fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            active: Arc::default(),
            deleting: Arc::default(),
            last_arrival: Arc::new(Mutex::new(Timestamp(0))),
            closing: Arc::default(),
        }
    }

    /// Ends the streams of events and logs before shutdown.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// The state shared by drivers.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The task with this name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, name: &TaskName) -> Result<Option<View>, StoreError> {
        let read = self.shared.store.read_task(name, Store::load);
        Ok(read.await?.map(|stored| self.view(stored)))
    }

    /// The task with this name for lists: without the environments of its services.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get_brief(&self, name: &TaskName) -> Result<Option<View>, StoreError> {
        let read = self.shared.store.read_task(name, Store::load_brief);
        Ok(read.await?.map(|stored| self.view(stored)))
    }

    /// The readable tasks that match `wanted`, newest first. Definitions are not read.
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
            store.each_state(|name, StoredState { state, .. }| {
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
        self.shared.store.read_task(name, Store::history).await
    }

    /// Starts a driver for a task unless it has one.
    fn drive(&self, name: &TaskName) -> Result<(), StoreError> {
        let mut active = self.active.lock();
        if active.get(name).is_some_and(ActiveTask::has_driver) {
            return Ok(());
        }
        let Some(mut stored) = self.shared.store.load(name)? else {
            return Ok(());
        };
        if stored.state.step == Step::Queued {
            run::drop_large_fields(&mut stored.spec);
        }
        let (sender, control) = watch::channel(RunControl {
            desired: stored.desired,
            expired: None,
        });
        let limits = Arc::new(Limits::new(&stored.state, self.shared.clock));
        let (end, ended) = watch::channel(false);
        let workers = Arc::new(Mutex::new(stored.state.workers.clone()));
        let live = Arc::new(LiveRun::default());
        if stored.state.step == Step::Queued {
            self.shared
                .queue
                .join(&stored.spec, stored.state.created_at);
        }
        active.insert(
            name.clone(),
            ActiveTask {
                control: sender.clone(),
                limits: Arc::clone(&limits),
                workers: Arc::clone(&workers),
                live: Arc::clone(&live),
                ended,
            },
        );
        let run = run::Run::new(Arc::clone(&self.shared), stored, control, workers, live);
        let (name, this) = (name.clone(), self.clone());
        tokio::spawn(async move {
            let driven = tokio::select! {
                driven = AssertUnwindSafe(driver::drive(run)).catch_unwind() => driven,
                never = limits.enforce(sender) => match never {},
            };
            this.active.lock().remove(&name);
            end.send_replace(true);
            if driven.is_err() {
                this.after_panic(&name).await;
            }
        });
        Ok(())
    }

    /// Handles the panic of a driver, which is a bug. The failure is recorded and a new driver ends the task and removes
    /// its objects. If that one panics, too, the periodic sweep restarts it.
    async fn after_panic(&self, name: &TaskName) {
        tracing::error!(task = %name, "the driver of the task panicked; this is a bug");
        let failed = async {
            let Some(stored) = self.shared.store.load(name)? else {
                return Ok(());
            };
            let state = stored.state;
            let failure = Failure {
                step: state.step,
                code: FailureCode::Internal,
                message: "internal error of the Director in this step".to_owned(),
                hint: "this is a bug; see the Director's log".to_owned(),
            };
            let record = Record {
                seq: state.seq + 1,
                at: self.shared.clock.now(),
                by: None,
                event: Event::Failed { failure },
            };
            // A task with an outcome cannot fail any more.
            let Ok(after) = machine::next(state, &record) else {
                return Ok(());
            };
            self.shared.store.append(name, &record, &after).await?;
            self.drive(name)
        };
        if let Err(error) = failed.await {
            tracing::error!(task = %name, %error, "the failure cannot be recorded; retrying later");
        }
    }

    fn view(&self, stored: Stored) -> View {
        let Stored { spec, state, .. } = stored;
        let active = self.active.lock();
        let active = active.get(&spec.name);
        View {
            workers: active.map_or_else(|| state.workers.clone(), |one| one.workers.lock().clone()),
            queue_position: match state.step {
                Step::Queued => self.shared.queue.position(&spec.name),
                _ => None,
            },
            lease_expires: active
                .filter(|_| state.outcome.is_none())
                .and_then(|one| one.limits.lease_expires()),
            now: self.shared.clock.now(),
            spec,
            state,
        }
    }
}

#[cfg(test)]
mod tests;
