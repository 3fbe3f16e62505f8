//! From a valid definition to an end that leaves nothing behind.
//!
//! - [`Orchestrator`]: what the API calls; it stores wishes and looks at states, and never waits for
//!   Docker but where the contract says so;
//! - [`driver`]: one loop for each task: decide, act, record;
//! - [`steps`]: the work of each step; [`wait`]: deadlines; [`cleanup`]: the removal;
//! - [`queue`]: whose turn it is; [`health`]: whether Docker can be used; [`recover`]: what happens
//!   at start; [`orphans`]: what is in Docker of tasks that nobody knows; `damaged`: the way out for
//!   tasks that cannot be read.

pub mod advice;
mod cleanup;
pub mod clock;
pub mod containers;
mod damaged;
pub mod driver;
pub mod health;
pub mod logs;
pub mod orphans;
pub mod queue;
pub mod recover;
pub mod run;
pub mod steps;
pub mod subnets;
pub mod wait;

use crate::bundle::BundleStore;
use crate::discovery::Discovery;
use crate::evidence::Evidence;
use crate::store::{Store, StoreError, Stored};
use crate::swarm::{Swarm, SwarmError};
use crate::task::event::{Event, Failure, FailureCode, Record, WorkerSeen};
use crate::task::machine;
use crate::task::spec::{Fault, Surroundings, TaskName, TaskSpec};
use crate::task::state::{Desired, State, Step};
use crate::task::timestamp::Timestamp;
use clock::Clock;
use futures_util::FutureExt;
use health::Health;
use ipnet::Ipv4Net;
use queue::Queue;
use serde_json::Value;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subnets::Subnets;
use thiserror::Error;
use tokio::sync::watch;
use wait::Deadline;

/// How long a delete waits for the clean-up (ARCHITECTURE.md, Walk-throughs).
pub const DELETE_PATIENCE: Duration = Duration::from_secs(90);
/// How long a definition with `networks` waits for Docker (ARCHITECTURE.md, Walk-throughs).
const NETWORKS_PATIENCE: Duration = Duration::from_secs(2);

/// What the orchestrator is told by the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Id of this Director, in the labels of everything it creates.
    pub director_id: String,
    /// How many tasks run at once.
    pub max_concurrent_tasks: usize,
    /// Bound of each part of the preparation; `None`: 60 s and 1 s for each replica.
    pub orchestration_timeout: Option<Duration>,
    /// Longest time for which a test may run.
    pub max_duration: Duration,
    /// How long Docker may be away while a test runs.
    pub docker_patience: Duration,
    /// Where the subnets of tasks are taken from.
    pub subnet_pool: Ipv4Net,
    /// Image of the sidecar.
    pub discovery_image: String,
    /// Host under which sidecars are reached; `None`: found.
    pub discovery_host: Option<String>,
}

impl Settings {
    /// Bound of each part of the preparation of a service with `replicas` containers.
    pub fn orchestration_timeout(&self, replicas: u32) -> Duration {
        self.orchestration_timeout
            .unwrap_or(Duration::from_secs(60 + u64::from(replicas)))
    }
}

/// Everything that drivers share.
pub struct Shared {
    /// What the configuration says.
    pub settings: Settings,
    /// What is remembered.
    pub store: Store,
    /// Docker.
    pub swarm: Arc<dyn Swarm>,
    /// The sidecars.
    pub discovery: Arc<dyn Discovery>,
    /// Uploads.
    pub bundles: Arc<BundleStore>,
    /// Logs.
    pub evidence: Evidence,
    /// The time.
    pub clock: Clock,
    /// Whose turn it is.
    pub queue: Arc<Queue>,
    /// Subnets that are being taken.
    pub subnets: Subnets,
    /// Whether Docker can be used.
    pub health: Health,
}

/// A task that has a driver.
struct Live {
    wish: watch::Sender<Desired>,
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
    /// Now, so that the view can be judged without a clock.
    pub now: Timestamp,
}

/// What became of a definition.
#[derive(Debug)]
pub enum Submitted {
    /// It is queued.
    Accepted(Box<View>),
    /// The very same one is under way.
    Present(Box<View>),
}

/// Why a definition was not taken.
#[derive(Debug, Error)]
pub enum SubmitError {
    /// It has faults.
    #[error("the definition has {} fault(s)", faults.len())]
    Faulty {
        /// All of them.
        faults: Vec<Fault>,
    },
    /// A task with this name, but another definition, is under way.
    #[error(
        "a task `{name}` with another definition is under way\n(DELETE it first, or choose another name)"
    )]
    Different {
        /// The name.
        name: TaskName,
    },
    /// A task with this name has ended.
    #[error("the task `{name}` has ended\n(DELETE it first, or choose another name)")]
    Ended {
        /// The name.
        name: TaskName,
    },
    /// Docker cannot be used.
    #[error(transparent)]
    Docker(#[from] SwarmError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Director is about to end.
    #[error("the Director is shutting down")]
    ShuttingDown,
}

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
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the API calls. Cheap to clone.
#[derive(Clone)]
pub struct Orchestrator {
    shared: Arc<Shared>,
    live: Arc<Mutex<HashMap<TaskName, Live>>>,
    /// Held while a damaged task is deleted.
    deleting: Arc<tokio::sync::Mutex<()>>,
    last_arrival: Arc<Mutex<Timestamp>>,
}

/// A definition is checked against the uploads and the configuration.
pub struct Known<'a> {
    /// Largest number of replicas.
    pub max_replicas: u64,
    /// The uploads.
    pub bundles: &'a BundleStore,
    /// Variables that an image needs, or why it may not run.
    pub images: &'a (dyn Fn(&str) -> Result<Vec<String>, String> + Sync),
}

impl Surroundings for Known<'_> {
    fn max_replicas(&self) -> u64 {
        self.max_replicas
    }

    fn has_bundle(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id| self.bundles.exists(&id))
    }

    fn required_variables(&self, image: &str) -> Result<Vec<String>, String> {
        (self.images)(image)
    }
}

impl Orchestrator {
    /// An orchestrator that drives nothing yet; [`Orchestrator::recover`] takes up earlier tasks.
    pub fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            live: Arc::default(),
            deleting: Arc::default(),
            last_arrival: Arc::new(Mutex::new(Timestamp(0))),
        }
    }

    /// What drivers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes a definition, or says everything that is wrong with it. Creates nothing in Docker.
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing is stored then.
    pub async fn submit(
        &self,
        payload: &Value,
        around: &Known<'_>,
    ) -> Result<Submitted, SubmitError> {
        let spec =
            TaskSpec::parse(payload, around).map_err(|faults| SubmitError::Faulty { faults })?;
        if let Some(present) = self.shared.store.load(&spec.name)? {
            return self.present(&spec, present);
        }
        self.shared.health.usable()?;
        self.check_networks(&spec).await?;
        let first = Record {
            seq: 1,
            at: self.arrival(),
            event: queued(),
        };
        if let Some(present) = self.shared.store.create(&spec, &first).await? {
            return self.present(&spec, present);
        }
        tracing::info!(task = %spec.name, "task accepted");
        self.drive(&spec.name)?;
        let view = self.get(&spec.name)?.ok_or(SubmitError::ShuttingDown)?;
        Ok(Submitted::Accepted(Box::new(view)))
    }

    /// Now, but later than any other arrival: the order of the queue must survive a restart, also that
    /// of definitions which came within one millisecond.
    fn arrival(&self) -> Timestamp {
        let mut last = self
            .last_arrival
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = self
            .shared
            .clock
            .now()
            .max(last.plus(Duration::from_millis(1)));
        *last
    }

    fn present(&self, spec: &TaskSpec, present: Stored) -> Result<Submitted, SubmitError> {
        let name = spec.name.clone();
        if present.state.outcome.is_some() {
            return Err(SubmitError::Ended { name });
        }
        match present.spec == *spec {
            true => Ok(Submitted::Present(Box::new(self.view(present)))),
            false => Err(SubmitError::Different { name }),
        }
    }

    async fn check_networks(&self, spec: &TaskSpec) -> Result<(), SubmitError> {
        if spec.master.networks.is_empty() && spec.worker.networks.is_empty() {
            return Ok(());
        }
        let asked = tokio::time::timeout(NETWORKS_PATIENCE, self.shared.swarm.networks()).await;
        let networks = asked.unwrap_or_else(|_| {
            Err(SwarmError::TimedOut {
                what: "the list of networks".into(),
                seconds: NETWORKS_PATIENCE.as_secs(),
            })
        })?;
        let known: Vec<&str> = networks
            .iter()
            .filter(|network| network.overlay)
            .map(|network| network.name.as_str())
            .collect();
        let faults: Vec<Fault> = [("master", &spec.master), ("worker", &spec.worker)]
            .into_iter()
            .flat_map(|(role, service)| unknown_networks(role, &service.networks, &known))
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(SubmitError::Faulty { faults }),
        }
    }

    /// The task with this name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get(&self, name: &TaskName) -> Result<Option<View>, StoreError> {
        Ok(self
            .shared
            .store
            .load(name)?
            .map(|stored| self.view(stored)))
    }

    /// All tasks that can be read, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<View>, StoreError> {
        let mut views: Vec<View> = self
            .shared
            .store
            .all()?
            .into_iter()
            .map(|stored| self.view(stored))
            .collect();
        views.sort_by(|a, b| {
            b.state
                .created_at
                .cmp(&a.state.created_at)
                .then_with(|| a.spec.name.cmp(&b.spec.name))
        });
        Ok(views)
    }

    /// The history of a task; empty when there is no such task.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn history(&self, name: &TaskName) -> Result<Vec<Record>, StoreError> {
        self.shared.store.history(name)
    }

    /// Asks a task to end. Does not wait.
    ///
    /// # Errors
    /// When there is no such task or the store failed.
    pub async fn stop(&self, name: &TaskName) -> Result<View, WishError> {
        let view = self.get(name)?.ok_or_else(|| not_found(name))?;
        if view.state.outcome.is_none() {
            self.wish(name, Desired::Stopped).await?;
        }
        Ok(view)
    }

    /// Ends a task, removes everything of it and forgets it; waits for that up to
    /// [`DELETE_PATIENCE`]. It goes on when the caller goes away.
    ///
    /// # Errors
    /// When there is no such task, the store failed, or clean-up is not over.
    pub async fn delete(&self, name: &TaskName) -> Result<(), WishError> {
        match self.get(name) {
            Err(StoreError::Damaged { .. }) => return self.delete_damaged(name).await,
            found => found?.ok_or_else(|| not_found(name))?,
        };
        self.wish(name, Desired::Deleted).await?;
        let deadline = Deadline::after(DELETE_PATIENCE);
        // The driver that is there may have come to its end just before the wish reached it; the
        // one after it knows of the wish from its beginning.
        for _ in 0..2 {
            self.drive(name)?;
            if let Some(mut ended) = self.ended(name) {
                // An error means that the driver is gone, which is what is waited for.
                let _ = tokio::time::timeout(deadline.left(), ended.wait_for(|ended| *ended)).await;
            }
            if self.get(name)?.is_none() {
                return Ok(());
            }
        }
        match self.get(name)? {
            None => Ok(()),
            Some(view) => Err(WishError::Remains {
                name: name.clone(),
                what: remains(&view.state),
            }),
        }
    }

    async fn wish(&self, name: &TaskName, desired: Desired) -> Result<(), StoreError> {
        // `None`: the task has gone in between, which is more than was wished.
        let Some(wish) = self.shared.store.wish(name, desired).await? else {
            return Ok(());
        };
        if let Some(live) = self.lock().get(name) {
            // Two wishes may pass each other between the store and here.
            live.wish
                .send_modify(|present| *present = wish.max(*present));
        }
        Ok(())
    }

    /// Gives a task a driver, unless it has one.
    fn drive(&self, name: &TaskName) -> Result<(), StoreError> {
        let mut live = self.lock();
        if live.get(name).is_some_and(Live::is_driven) {
            return Ok(());
        }
        let Some(stored) = self.shared.store.load(name)? else {
            return Ok(());
        };
        let (wish, wishes) = watch::channel(stored.desired);
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
                wish,
                workers: Arc::clone(&workers),
                ended,
            },
        );
        let run = run::Run::new(Arc::clone(&self.shared), stored, wishes, workers);
        let (name, this) = (name.clone(), self.clone());
        tokio::spawn(async move {
            let driven = AssertUnwindSafe(driver::drive(run)).catch_unwind().await;
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
        let seen = self
            .lock()
            .get(&stored.spec.name)
            .map(|live| Arc::clone(&live.workers));
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
            now: self.shared.clock.now(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TaskName, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first event of a run: six random characters for its names, and a token for its sidecar.
fn queued() -> Event {
    let random = uuid::Uuid::new_v4().simple().to_string();
    Event::Queued {
        run: random[..6].to_owned(),
        token: uuid::Uuid::new_v4().simple().to_string(),
    }
}

fn unknown_networks(role: &str, wanted: &[String], known: &[&str]) -> Vec<Fault> {
    wanted
        .iter()
        .enumerate()
        .filter(|(_, name)| !known.contains(&name.as_str()))
        .map(|(index, name)| Fault {
            field: format!("{role}.networks[{index}]"),
            message: format!("`{name}` is not an overlay network of this swarm"),
        })
        .collect()
}

fn not_found(name: &TaskName) -> WishError {
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

#[cfg(test)]
mod tests;
