//! The way in: a definition is looked at from all sides, and stored.

use super::{Orchestrator, View};
use atq_bundle_store::BundleStore;
use atq_engine::EngineError;
use atq_store::{StoreError, Stored};
use atq_task::event::{Event, Record};
use atq_task::spec::{Delivery, Fault, Surroundings, TaskName, TaskSpec};
use atq_task::terms::Terms;
use atq_task::timestamp::Timestamp;
use serde_json::Value;
use std::sync::PoisonError;
use std::time::Duration;
use thiserror::Error;

/// What became of a definition.
#[derive(Debug)]
pub enum Submitted {
    /// It is queued.
    Accepted(Box<View>),
    /// The very same one is under way.
    Present(Box<View>),
}

impl Submitted {
    /// The task.
    pub fn view(&self) -> &View {
        match self {
            Self::Accepted(view) | Self::Present(view) => view,
        }
    }
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
    /// The engine cannot be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Director is about to end.
    #[error("the Director is shutting down")]
    ShuttingDown,
}

/// A definition is checked against the uploads and the configuration.
pub struct Known<'a> {
    /// Largest number of replicas.
    pub max_replicas: u64,
    /// Most seconds between SIGTERM and SIGKILL.
    pub max_stop_grace: u64,
    /// The uploads.
    pub bundles: &'a BundleStore,
    /// What a definition means that does not say how bundles come to the containers.
    pub delivery: Delivery,
    /// Variables that an image needs, or why it may not run.
    pub images: &'a (dyn Fn(&str) -> Result<Vec<String>, String> + Sync),
}

impl Surroundings for Known<'_> {
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
    /// Takes a definition, or says everything that is wrong with it. Makes nothing in the engine.
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing is stored then.
    pub async fn submit(
        &self,
        payload: &Value,
        around: &Known<'_>,
        terms: Terms,
    ) -> Result<Submitted, SubmitError> {
        let spec =
            TaskSpec::parse(payload, around).map_err(|faults| SubmitError::Faulty { faults })?;
        let name = spec.name.clone();
        let known = self.shared.store.reading(move |store| store.load(&name));
        if let Some(present) = known.await? {
            return self.present(&spec, &terms, present);
        }
        self.shared.health.first_answer().await?;
        let faults = self.shared.engine.check(&spec).await?;
        if !faults.is_empty() {
            return Err(SubmitError::Faulty { faults });
        }
        let first = Record {
            seq: 1,
            at: self.arrival(),
            event: queued(terms.clone()),
        };
        if let Some(present) = self.shared.store.create(&spec, &first).await? {
            return self.present(&spec, &terms, present);
        }
        tracing::info!(task = %spec.name, "task accepted");
        self.drive(&spec.name)?;
        let view = self
            .get(&spec.name)
            .await?
            .ok_or(SubmitError::ShuttingDown)?;
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

    fn present(
        &self,
        spec: &TaskSpec,
        terms: &Terms,
        present: Stored,
    ) -> Result<Submitted, SubmitError> {
        let name = spec.name.clone();
        // An answer that was lost may be asked for again when the test is over already.
        let is_repeated = terms.key.is_some() && terms.key == present.state.terms.key;
        if present.state.outcome.is_some() && !is_repeated {
            return Err(SubmitError::Ended { name });
        }
        match present.spec == *spec {
            true => Ok(Submitted::Present(Box::new(self.view(present)))),
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
