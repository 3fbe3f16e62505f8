//! The run that an engine works on, and how the driver interrupts that work.

use crate::{Deadline, EngineError};
use async_trait::async_trait;
use atq_patience::{Backoff, Pauses};
use atq_task::event::{Event, Failure, FailureCode};
use atq_task::spec::TaskSpec;
use atq_task::state::{State, Step};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Backoff after temporary errors.
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(2),
};

/// Why a step did not reach its end.
#[derive(Debug)]
pub enum StepError {
    /// The task is to end.
    Interrupted,
    /// The run failed. An empty hint is filled in from [`crate::Engine::advice`].
    Failed(Failure),
}

/// The result of a step: the event to record.
pub type StepResult = Result<Event, StepError>;

/// A run as it is known now. An engine finds its own notes in the state.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The definition.
    pub spec: &'a TaskSpec,
    /// The fold of the history.
    pub state: &'a State,
}

impl Facts<'_> {
    /// A failure of the present step.
    pub fn failed(
        &self,
        code: FailureCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> StepError {
        self.failed_in(self.state.step, code, message, hint)
    }

    /// A failure of what was begun in another step.
    pub fn failed_in(
        &self,
        step: Step,
        code: FailureCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> StepError {
        StepError::Failed(Failure {
            step,
            code,
            message: message.into(),
            hint: hint.into(),
        })
    }

    /// The failure that an error of the engine means.
    pub fn engine_failed(&self, error: &EngineError) -> StepError {
        match error.is_temporary() {
            true => self.failed(
                FailureCode::EngineUnavailable,
                error.to_string(),
                "see GET /readyz, and the engine's own log",
            ),
            false => self.failed(FailureCode::EngineRefused, error.to_string(), ""),
        }
    }
}

/// A run whose driver awaits the engine. The engine records events through it before it acts.
#[async_trait]
pub trait Course: Send {
    /// The run as it is known now.
    fn facts(&self) -> Facts<'_>;

    /// Bound of each part of the preparation of `replicas` containers.
    fn patience(&self, replicas: u32) -> Duration;

    /// Records a fact. It is on the disk when this returns, and in [`Course::facts`].
    async fn note(&mut self, event: Event) -> Result<(), StepError>;

    /// Sleeps, but not beyond the moment at which the task is to end.
    async fn pause(&mut self, length: Duration) -> Result<(), StepError>;

    /// Returns when the task is to end.
    fn interruption(&self) -> BoxFuture<'static, ()>;
}

impl dyn Course + '_ {
    /// Calls the engine until it answers or refuses for good. The call itself is never cut short.
    ///
    /// # Errors
    /// When it refused, was away until the deadline, or the task is to end.
    pub async fn patiently<T, E, F, Fut>(
        &mut self,
        deadline: Deadline,
        call: F,
    ) -> Result<T, StepError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<EngineError>,
    {
        let mut backoff = Backoff::new(PAUSES);
        loop {
            match call().await.map_err(Into::into) {
                Ok(value) => return Ok(value),
                Err(error) if error.is_temporary() && !deadline.passed() => {
                    tracing::debug!(task = %self.facts().spec.name, %error, "a call failed; trying again");
                }
                Err(error) => return Err(self.facts().engine_failed(&error)),
            }
            self.pause(backoff.next_pause()).await?;
        }
    }

    /// A failure of the present step.
    pub fn failed(
        &self,
        code: FailureCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> StepError {
        self.facts().failed(code, message, hint)
    }
}
