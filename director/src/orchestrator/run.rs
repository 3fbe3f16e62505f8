//! One run and what its driver holds: the definition, the state, and the way to record events.

use super::carriers::Admission;
use super::load::watch::Watch;
use super::queue::{Claim, Turn};
use super::shared::Shared;
use super::steering::Steering;
use super::subnets::Held;
use super::wait::StepError;
use crate::plan::{LABEL_DIRECTOR, LABEL_RUN, Labels, RunPlan};
use crate::store::Stored;
use crate::swarm::{SwarmTask, TaskState};
use crate::task::event::{Event, FailureCode, Record, WorkerSeen};
use crate::task::machine::{self, IllegalEvent};
use crate::task::spec::TaskSpec;
use crate::task::state::{Desired, State, Step};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Pause before the store is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// A run in the hands of its driver.
pub struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) spec: Arc<TaskSpec>,
    pub(super) state: State,
    pub(super) wishes: watch::Receiver<Steering>,
    pub(super) seen: Arc<Mutex<Vec<WorkerSeen>>>,
    /// The right to run, until the evidence is kept: reports and removal hold nobody up.
    pub(super) turn: Option<Turn>,
    /// What it has claimed, until nothing of it can run any more.
    pub(super) claim: Option<Claim>,
    pub(super) subnets: Vec<Held>,
    /// The watch over its load, while the test runs.
    pub(super) watch: Option<Watch>,
    /// Its carriers may call as long as it is driven.
    _admission: Admission,
}

/// Takes what is large out of a definition that waits for its turn: a thousand may wait, and most of what they
/// hold is needed only by those that run.
pub(super) fn leave_in_the_store(spec: &mut TaskSpec) {
    for service in [&mut spec.master, &mut spec.worker] {
        service.environment = Vec::new();
        service.args = Vec::new();
    }
}

impl Run {
    /// A run as it is stored.
    pub(super) fn new(
        shared: Arc<Shared>,
        stored: Stored,
        wishes: watch::Receiver<Steering>,
        seen: Arc<Mutex<Vec<WorkerSeen>>>,
    ) -> Self {
        let subnets = stored
            .state
            .subnet
            .map(|subnet| shared.subnets.hold(subnet))
            .into_iter()
            .collect();
        // Under way before a restart. Taken here and not by the driver, so that no task that waits
        // comes first.
        let step = stored.state.step;
        let runs = step != Step::Queued && step < Step::Report;
        let has_objects = step != Step::Queued && step != Step::Done;
        let exclusive = stored.spec.exclusive.as_deref();
        Self {
            turn: runs.then(|| shared.queue.resume()),
            _admission: shared.carriers.admit(
                &stored.spec.name,
                &stored.state.run,
                &stored.state.token,
            ),
            claim: has_objects.then(|| shared.queue.claim(exclusive)),
            shared,
            spec: Arc::new(stored.spec),
            state: stored.state,
            wishes,
            seen,
            subnets,
            watch: None,
        }
    }

    /// Takes the whole definition out of the store; see [`leave_in_the_store`].
    ///
    /// # Errors
    /// When the store does not give it.
    pub(super) async fn take_definition(&mut self) -> Result<(), StepError> {
        let name = self.spec.name.clone();
        let read = self.shared.store.reading(move |store| store.load(&name));
        match read.await {
            Ok(Some(stored)) => {
                self.spec = Arc::new(stored.spec);
                Ok(())
            }
            // It is deleted only at its end.
            Ok(None) => Err(self.failed(FailureCode::Internal, "its definition is gone", "")),
            Err(error) => Err(self.failed(FailureCode::Internal, error.to_string(), "")),
        }
    }

    /// Names, labels and descriptions of the run's objects.
    pub(super) fn plan(&self) -> RunPlan<'_> {
        RunPlan {
            spec: &self.spec,
            run: &self.state.run,
            director: &self.shared.settings.director_id,
            place: &self.shared.settings.place,
            networks_tried: self.state.subnets_tried,
        }
    }

    /// Labels that all objects of this run carry, and no others.
    pub(super) fn labels(&self) -> Labels {
        [
            (LABEL_RUN, &self.state.run),
            (LABEL_DIRECTOR, &self.shared.settings.director_id),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
    }

    /// Where the task is steered now.
    pub(super) fn desired(&self) -> Desired {
        self.steering().desired
    }

    /// The same, with the limits of its client.
    pub(super) fn steering(&self) -> Steering {
        *self.wishes.borrow()
    }

    /// Bound of each part of the preparation.
    pub(super) fn orchestration_timeout(&self, replicas: u32) -> Duration {
        self.shared.settings.orchestration_timeout(replicas)
    }

    /// Directory of a bundle on the nodes.
    pub(super) fn bundle(&self, fileid: Option<&String>) -> Option<PathBuf> {
        let id = fileid?.parse().ok()?;
        Some(self.shared.bundles.path_of(&id))
    }

    /// Records an event: on the disk first, then in the state. A disk that takes nothing is waited
    /// for, because what is not recorded must not be acted upon.
    ///
    /// # Errors
    /// When the event cannot follow, which is a bug.
    pub(super) async fn record(&mut self, event: Event) -> Result<(), IllegalEvent> {
        let record = Record {
            seq: self.state.seq + 1,
            at: self.shared.clock.now(),
            event,
        };
        let after = machine::next(self.state.clone(), &record)?;
        while let Err(error) = self
            .shared
            .store
            .append(&self.spec.name, &record, &after)
            .await
        {
            tracing::error!(task = %self.spec.name, %error, "an event cannot be recorded; the task waits");
            tokio::time::sleep(STORE_PAUSE).await;
        }
        log(&self.spec, &record);
        self.state = after;
        Ok(())
    }

    /// Remembers the workers for those who ask, until the evidence is kept.
    pub(super) fn saw_workers(&self, tasks: &[SwarmTask]) {
        let mut seen: Vec<WorkerSeen> = tasks.iter().map(|task| self.worker_seen(task)).collect();
        seen.sort_by_key(|worker| worker.replica);
        if !seen.is_empty() {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        }
    }

    /// The workers as last seen.
    pub(super) fn last_seen_workers(&self) -> Vec<WorkerSeen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn worker_seen(&self, task: &SwarmTask) -> WorkerSeen {
        let network = self.state.network.as_deref().unwrap_or_default();
        let lost = !task.state.is_terminal() && task.desired > TaskState::Running;
        WorkerSeen {
            replica: task.slot,
            node: task.node_id.clone(),
            address: task.address_in(network),
            state: if lost {
                "lost".to_owned()
            } else {
                task.state.as_str().to_owned()
            },
            exit_code: task.exit_code,
            error: task.error.clone(),
        }
    }
}

fn log(spec: &TaskSpec, record: &Record) {
    match &record.event {
        Event::Queued { .. } => {}
        Event::StepStarted { step } => {
            tracing::info!(task = %spec.name, step = step.as_str(), "step started")
        }
        Event::Failed { failure } => {
            tracing::warn!(task = %spec.name, step = failure.step.as_str(), message = %failure.message, "task failed");
        }
        event => tracing::info!(task = %spec.name, ?event, "recorded"),
    }
}
