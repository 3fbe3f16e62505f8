//! A run with its driver's resources: the definition, the state, and the recording of events.

use super::control::RunControl;
use super::interruption::StepError;
use super::live::LiveRun;
use super::live::following::Following;
use super::queue::{Claim, Slot};
use super::shared::Shared;
use super::usage::Sampling;
use atq_engine::{Facts, Member, ResourceGuard, RunContext};
use atq_retry::{Pauses, retry_with};
use atq_store::{Store, StoreError, Stored};
use atq_task::event::{Event, FailureCode, Record, WorkerStatus};
use atq_task::machine::{self, IllegalEvent};
use atq_task::spec::TaskSpec;
use atq_task::state::{Desired, State, Step};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Retries of writes to the store.
const STORE_BACKOFF: Pauses = Pauses {
    first: Duration::from_secs(2),
    longest: Duration::from_secs(2),
};

/// A run, owned by its driver.
pub struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) spec: Arc<TaskSpec>,
    pub(super) state: State,
    pub(super) control: watch::Receiver<RunControl>,
    pub(super) workers: Arc<Mutex<Vec<WorkerStatus>>>,
    /// The slot of the queue, until the evidence is kept: report and clean-up do not block other tasks.
    pub(super) slot: Option<Slot>,
    /// The exclusive claim, until the run is complete.
    pub(super) claim: Option<Claim>,
    /// Guard of the engine's resources; dropped at `done`.
    pub(super) guard: Option<ResourceGuard>,
    /// The sampling of resource usage, from the first command or the test on.
    pub(super) sampling: Option<Sampling>,
    /// The following of the result files, while the test runs.
    pub(super) following: Following,
    /// Figures of the test for the API.
    pub(super) live: Arc<LiveRun>,
}

/// Drops the large fields of a queued definition: a thousand tasks may wait, and only running ones need these fields.
pub(super) fn drop_large_fields(spec: &mut TaskSpec) {
    for service in [&mut spec.master, &mut spec.worker] {
        service.environment = Vec::new();
        service.args = Vec::new();
    }
}

impl Run {
    /// A run from its stored form.
    pub(super) fn new(
        shared: Arc<Shared>,
        stored: Stored,
        control: watch::Receiver<RunControl>,
        workers: Arc<Mutex<Vec<WorkerStatus>>>,
        live: Arc<LiveRun>,
    ) -> Self {
        // For a run that was active before a restart. Acquired here and not by the driver, so that no waiting task can
        // take it first.
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
            guard: Some(shared.engine.adopt(facts)),
            slot: runs.then(|| shared.queue.resume()),
            claim,
            shared,
            spec,
            state,
            control,
            workers,
            sampling: None,
            following: Following::No,
            live,
        }
    }

    /// Loads the complete definition from the store; see [`drop_large_fields`].
    ///
    /// # Errors
    /// When the store cannot read it.
    pub(super) async fn load_definition(&mut self) -> Result<(), StepError> {
        let read = self.shared.store.read_task(&self.spec.name, Store::load);
        let problem = match read.await {
            Ok(Some(stored)) => {
                self.spec = Arc::new(stored.spec);
                return Ok(());
            }
            // A definition is deleted only when the run is complete.
            Ok(None) => "the definition is missing".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(self.failed(FailureCode::Internal, &problem, ""))
    }

    /// The requested state.
    pub(super) fn desired(&self) -> Desired {
        self.control().desired
    }

    /// The requested state and the expired limit.
    pub(super) fn control(&self) -> RunControl {
        *self.control.borrow()
    }

    /// Records an event: on the disk first, then in the state. A failed write is retried indefinitely, because the
    /// driver must not act on an event that is not recorded.
    ///
    /// # Errors
    /// When the event is not allowed in the current state, which is a bug.
    pub(super) async fn record(&mut self, event: Event) -> Result<(), IllegalEvent> {
        let by = match event {
            Event::Stopped => self.requester().await,
            _ => None,
        };
        let record = Record {
            seq: self.state.seq + 1,
            at: self.shared.clock.now(),
            by,
            event,
        };
        let after = machine::next(self.state.clone(), &record)?;
        let append = || self.shared.store.append(&self.spec.name, &record, &after);
        let on_error = |error: &StoreError, pause| {
            tracing::error!(task = %self.spec.name, %error, "an event cannot be recorded; retrying");
            Some(pause)
        };
        // The retries end only with success.
        let _ = retry_with(STORE_BACKOFF, append, on_error).await;
        log(&self.spec, &record);
        self.state = after;
        Ok(())
    }

    /// Name of the client that requested the end of the run, if it was identified.
    async fn requester(&self) -> Option<String> {
        let store = &self.shared.store;
        let read = store.read_task(&self.spec.name, Store::requester).await;
        read.unwrap_or_else(|error| {
            tracing::warn!(task = %self.spec.name, %error, "the client that ends the run is unknown");
            None
        })
    }

    /// Updates the status of the workers for the API, until the evidence is kept.
    pub(super) fn update_workers(&self, members: &[Member]) {
        let mut workers: Vec<WorkerStatus> = members.iter().map(worker_status).collect();
        workers.sort_by_key(|worker| worker.replica);
        if !workers.is_empty() {
            *self.workers.lock() = workers;
        }
    }

    /// The last known status of the workers.
    pub(super) fn known_workers(&self) -> Vec<WorkerStatus> {
        self.workers.lock().clone()
    }
}

fn worker_status(worker: &Member) -> WorkerStatus {
    let state = match !worker.has_ended() && worker.leaving {
        true => "lost",
        false => worker.state,
    };
    WorkerStatus {
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
        event => {
            let (event, data) = name_and_data(event);
            match data.is_null() {
                true => tracing::info!(task = %spec.name, event, "recorded"),
                false => tracing::info!(task = %spec.name, event, %data, "recorded"),
            }
        }
    }
}

/// The stored form of an event.
fn name_and_data(event: &Event) -> (String, Value) {
    let mut stored = serde_json::to_value(event).unwrap_or_default();
    let name = stored["event"].as_str().unwrap_or_default().to_owned();
    (name, stored["data"].take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_logged_with_its_stored_name_and_compact_json() {
        let event = Event::MasterEnded {
            exit_code: Some(0),
            memory_limit: None,
        };
        let (name, data) = name_and_data(&event);
        assert_eq!(
            (name.as_str(), data.to_string().as_str()),
            ("masterEnded", "{\"exitCode\":0}")
        );
        let (name, data) = name_and_data(&Event::MasterStarted);
        assert!(name == "masterStarted" && data.is_null());
    }
}
