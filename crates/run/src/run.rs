//! One run and what its driver holds: the definition, the state, and the way to record events.

use super::load::Watch;
use super::queue::{Claim, Turn};
use super::shared::Shared;
use super::steering::Steering;
use super::wait::StepError;
use atq_engine::{Facts, Holding, Member};
use atq_patience::{Pauses, retry_with};
use atq_store::{StoreError, Stored};
use atq_task::event::{Event, FailureCode, Record, WorkerSeen};
use atq_task::machine::{self, IllegalEvent};
use atq_task::spec::TaskSpec;
use atq_task::state::{Desired, State, Step};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Before the store is tried again.
const STORE_TROUBLE: Pauses = Pauses {
    first: Duration::from_secs(2),
    longest: Duration::from_secs(2),
};

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
    /// Guard of the engine's resources; dropped at `done`.
    pub(super) holding: Option<Holding>,
    /// The watch over its load, while the test runs.
    pub(super) watch: Option<Watch>,
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
        // Under way before a restart. Taken here and not by the driver, so that no task that waits
        // comes first.
        let step = stored.state.step;
        let runs = step != Step::Queued && step < Step::Report;
        let has_objects = step != Step::Queued && step != Step::Done;
        let exclusive = stored.spec.exclusive.as_deref();
        let claim = has_objects.then(|| shared.queue.claim(exclusive));
        let (spec, state) = (Arc::new(stored.spec), stored.state);
        let facts = Facts {
            spec: &spec,
            state: &state,
        };
        Self {
            holding: Some(shared.engine.adopt(facts)),
            turn: runs.then(|| shared.queue.resume()),
            claim,
            shared,
            spec,
            state,
            wishes,
            seen,
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

    /// Where the task is steered now.
    pub(super) fn desired(&self) -> Desired {
        self.steering().desired
    }

    /// The same, with the limits of its client.
    pub(super) fn steering(&self) -> Steering {
        *self.wishes.borrow()
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
        let append = || self.shared.store.append(&self.spec.name, &record, &after);
        let told = |error: &StoreError, pause| {
            tracing::error!(task = %self.spec.name, %error, "an event cannot be recorded; the task waits");
            Some(pause)
        };
        // It ends only with success.
        let _ = retry_with(STORE_TROUBLE, append, told).await;
        log(&self.spec, &record);
        self.state = after;
        Ok(())
    }

    /// Remembers the workers for those who ask, until the evidence is kept.
    pub(super) fn saw_workers(&self, workers: &[Member]) {
        let mut seen: Vec<WorkerSeen> = workers.iter().map(worker_seen).collect();
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
}

fn worker_seen(worker: &Member) -> WorkerSeen {
    let state = match !worker.has_ended() && worker.leaving {
        true => "lost",
        false => worker.state,
    };
    WorkerSeen {
        replica: worker.source.replica,
        node: worker.node.clone(),
        address: worker.address,
        state: state.to_owned(),
        exit_code: worker.exit_code,
        error: worker.error.clone(),
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
