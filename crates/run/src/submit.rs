//! Validates a definition and stores it.

use super::{Orchestrator, View};
use atq_bundle_store::BundleStore;
use atq_engine::EngineError;
use atq_store::{Store, StoreError, Stored};
use atq_task::event::{Event, Record};
use atq_task::spec::{Delivery, Fault, Surroundings, TaskName, TaskSpec};
use atq_task::terms::Terms;
use atq_task::timestamp::Timestamp;
use serde_json::Value;
use std::time::Duration;
use thiserror::Error;

/// The result of a submission.
#[derive(Debug)]
pub enum Submitted {
    /// The task is queued.
    Accepted(Box<View>),
    /// A task with the same definition already exists.
    Existing(Box<View>),
}

impl Submitted {
    /// The task.
    pub fn view(&self) -> &View {
        match self {
            Self::Accepted(view) | Self::Existing(view) => view,
        }
    }
}

/// Errors of a submission.
#[derive(Debug, Error)]
pub enum SubmitError {
    /// The definition has faults.
    #[error("the definition has {} fault(s)", faults.len())]
    Faulty {
        /// All faults.
        faults: Vec<Fault>,
    },
    /// A task with this name and another definition is active.
    #[error(
        "a task `{name}` with another definition is active\n(DELETE it first, or choose another name)"
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
    /// The engine is unavailable.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Director shuts down.
    #[error("the Director is shutting down")]
    ShuttingDown,
}

/// The uploads and the configuration against which a definition is checked.
pub struct SubmitContext<'a> {
    /// Maximum number of replicas.
    pub max_replicas: u64,
    /// Maximum grace period in seconds.
    pub max_stop_grace: u64,
    /// The uploaded bundles.
    pub bundles: &'a BundleStore,
    /// The default of `delivery`.
    pub delivery: Delivery,
    /// Variables that an image requires, or the reason why it is not allowed.
    pub images: &'a (dyn Fn(&str) -> Result<Vec<String>, String> + Sync),
}

impl Surroundings for SubmitContext<'_> {
    fn max_replicas(&self) -> u64 {
        self.max_replicas
    }

    fn max_stop_grace(&self) -> u64 {
        self.max_stop_grace
    }

    fn has_bundle(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id| self.bundles.exists(&id))
    }

    fn required_variables(&self, image: &str) -> Result<Vec<String>, String> {
        (self.images)(image)
    }

    fn has_file(&self, id: &str, path: &str) -> bool {
        id.parse()
            .is_ok_and(|id| self.bundles.path_of(&id).join(path).is_file())
    }

    fn delivery(&self) -> Delivery {
        self.delivery
    }
}

impl Orchestrator {
    /// Accepts a definition, or returns all its faults. Creates nothing in the engine.
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing is stored.
    pub async fn submit(
        &self,
        payload: &Value,
        context: &SubmitContext<'_>,
        terms: Terms,
    ) -> Result<Submitted, SubmitError> {
        let spec =
            TaskSpec::parse(payload, context).map_err(|faults| SubmitError::Faulty { faults })?;
        let known = self.shared.store.read_task(&spec.name, Store::load);
        if let Some(stored) = known.await? {
            return self.existing(&spec, &terms, stored);
        }
        self.shared.health.first_status().await?;
        let faults = self.shared.engine.check(&spec).await?;
        if !faults.is_empty() {
            return Err(SubmitError::Faulty { faults });
        }
        let first = Record {
            seq: 1,
            at: self.arrival(),
            by: None,
            event: queued(terms.clone()),
        };
        if let Some(stored) = self.shared.store.create(&spec, &first).await? {
            return self.existing(&spec, &terms, stored);
        }
        tracing::info!(task = %spec.name, "task accepted");
        self.drive(&spec.name)?;
        let view = self.get(&spec.name).await?;
        let view = view.ok_or(SubmitError::ShuttingDown)?;
        Ok(Submitted::Accepted(Box::new(view)))
    }

    /// The current time, but later than every earlier arrival: the order of the queue must survive a restart, even for
    /// definitions that arrive within one millisecond.
    fn arrival(&self) -> Timestamp {
        let mut last = self.last_arrival.lock();
        let next = last.plus(Duration::from_millis(1));
        *last = self.shared.clock.now().max(next);
        *last
    }

    fn existing(
        &self,
        spec: &TaskSpec,
        terms: &Terms,
        stored: Stored,
    ) -> Result<Submitted, SubmitError> {
        let name = spec.name.clone();
        // A client may retry after a lost response even when the test has ended.
        let is_repeated = terms.key.is_some() && terms.key == stored.state.terms.key;
        if stored.state.outcome.is_some() && !is_repeated {
            return Err(SubmitError::Ended { name });
        }
        match stored.spec == *spec {
            true => Ok(Submitted::Existing(Box::new(self.view(stored)))),
            false => Err(SubmitError::Different { name }),
        }
    }
}

/// The first event of a run: six random characters for its names, and a secret token.
fn queued(terms: Terms) -> Event {
    let random = uuid::Uuid::new_v4().simple().to_string();
    Event::Queued {
        run: random[..6].to_owned(),
        token: uuid::Uuid::new_v4().simple().to_string(),
        terms,
    }
}
