//! From a valid definition to an end that leaves nothing behind.
//!
//! - [`Orchestrator`]: what the API calls ([`submit`], [`wishes`]); it stores and looks, and never waits for
//!   Docker but where the contract says so;
//! - [`driver`]: one loop for each task: decide, act, record;
//! - [`steps`]: the work of each step; [`wait`]: deadlines; [`cleanup`]: the removal;
//! - [`carrier`]: services that bring something to the nodes, or fetch it, and what they say; [`carriers`]:
//!   whom of them the API lets in; [`bundles`] and [`ledger`]: the removal of what they brought;
//! - [`kill`]: the end of containers without their grace period;
//! - [`limits`]: the timeout and the lease that the client of a run has set;
//! - [`queue`]: whose turn it is; [`health`]: whether Docker can be used; [`recover`]: what happens
//!   at start; [`orphans`]: what is in Docker of tasks that nobody knows; `damaged`: the way out for
//!   tasks that cannot be read.

pub mod advice;
pub mod arrivals;
pub mod bundles;
pub mod carrier;
pub mod carriers;
mod cleanup;
pub mod clock;
pub mod containers;
mod damaged;
pub mod driver;
pub mod events;
pub mod follow;
pub mod health;
pub mod intake;
mod kill;
pub mod ledger;
pub mod limits;
pub mod load;
pub mod logs;
mod manifest;
pub mod orphans;
pub mod queue;
pub mod receive;
pub mod recover;
pub mod reported;
pub mod retention;
pub mod run;
pub mod steps;
pub mod submit;
pub mod subnets;
pub mod wait;
pub mod wishes;

use crate::bundle::BundleStore;
use crate::discovery::Discovery;
use crate::evidence::Evidence;
use crate::evidence::results::ResultsLimits;
use crate::reach::Reach;
use crate::store::{Standing, Store, StoreError, Stored};
use crate::swarm::Swarm;
use crate::task::event::{Event, Failure, FailureCode, Record, WorkerSeen};
use crate::task::machine;
use crate::task::spec::{TaskName, TaskSpec};
use crate::task::state::{Desired, State, Step};
use crate::task::terms::Expiry;
use crate::task::timestamp::Timestamp;
use arrivals::Arrivals;
use carriers::Carriers;
use clock::Clock;
use futures_util::FutureExt;
use health::Health;
use ipnet::Ipv4Net;
use ledger::Ledger;
use limits::Limits;
use queue::Queue;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subnets::Subnets;
use tokio::sync::watch;

/// What the orchestrator is told by the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Id of this Director, in the labels of everything it creates.
    pub director_id: String,
    /// Where this Director lives, in the labels too: no other can be there at the same time.
    pub place: String,
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
    /// How much is kept of what the containers of a run leave in `/atq/results`.
    pub results: ResultsLimits,
    /// What every container of a task is bound to.
    pub bounds: Bounds,
    /// Where the Director listens.
    pub listen: SocketAddr,
    /// URL under which the nodes reach the Director, without a slash at its end; `None`: found.
    pub advertise_url: Option<String>,
    /// Image of the carrier.
    pub carrier_image: String,
    /// Docker's socket on the nodes.
    pub node_docker_socket: PathBuf,
}

/// What every container of a task is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most processes and threads; `None`: not limited.
    pub pids: Option<u64>,
    /// The longest time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
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
    /// What carriers send.
    pub arrivals: Arrivals,
    /// Who may call from the nodes.
    pub carriers: Arc<Carriers>,
    /// Which volumes of bundles are on which nodes.
    pub ledger: Ledger,
    /// Who is at a URL.
    pub reach: Arc<dyn Reach>,
}

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
