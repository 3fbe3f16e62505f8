//! The run as the engine uses it: its state, recording of events, and interruption by the driver.

use crate::{Deadline, EngineError};
use async_trait::async_trait;
use atq_retry::{Backoff, Pauses};
use atq_task::event::{Event, Failure, FailureCode};
use atq_task::spec::TaskSpec;
use atq_task::state::{State, Step};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Backoff after temporary errors.
const BACKOFF: Pauses = Pauses {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(2),
};

/// The reason why a step did not complete.
#[derive(Debug)]
pub enum StepError {
    /// The run is to end early.
    Interrupted,
    /// The run failed. An empty hint is filled in from [`crate::Engine::advice`].
    Failed(Failure),
}

/// The result of a step: the event to record.
pub type StepResult = Result<Event, StepError>;

/// The definition and the current state of a run. An engine reads its earlier results from the state.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The definition.
    pub spec: &'a TaskSpec,
    /// The fold of the history.
    pub state: &'a State,
}

impl Facts<'_> {
    /// A failure of the current step.
    pub fn failed(&self, code: FailureCode, message: &str, hint: &str) -> StepError {
        self.failed_in(self.state.step, code, message, hint)
    }

    /// A failure of another step.
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

    /// Converts an error of the engine to a failure of the current step.
    pub fn engine_failed(&self, error: &EngineError) -> StepError {
        match error.is_temporary() {
            true => self.failed(
                FailureCode::EngineUnavailable,
                &error.message,
                "see GET /readyz, and the engine's own log",
            ),
            false => self.failed(FailureCode::EngineRefused, &error.message, ""),
        }
    }
}

/// A run whose driver waits for the engine. The engine records events through it before it acts.
#[async_trait]
pub trait RunContext: Send {
    /// The definition and the current state.
    fn facts(&self) -> Facts<'_>;

    /// Timeout of each part of the preparation of `replicas` containers.
    fn orchestration_timeout(&self, replicas: u32) -> Duration;

    /// Records an event. It is on the disk and in [`RunContext::facts`] when this returns.
    async fn note(&mut self, event: Event) -> Result<(), StepError>;

    /// Sleeps until `length` has passed or the run is to end early.
    async fn pause(&mut self, length: Duration) -> Result<(), StepError>;

    /// Returns when the run is to end early.
    fn interruption(&self) -> BoxFuture<'static, ()>;

    /// A failure of the current step.
    fn failed(&self, code: FailureCode, message: &str, hint: &str) -> StepError {
        self.facts().failed(code, message, hint)
    }

    /// Converts an error of the engine to a failure of the current step.
    fn engine_failed(&self, error: &EngineError) -> StepError {
        self.facts().engine_failed(error)
    }
}

impl dyn RunContext + '_ {
    /// Retries a call to the engine after temporary errors. A call in progress is never cancelled.
    ///
    /// # Errors
    /// After a permanent error, a temporary error beyond the deadline, or when the run is to end early.
    pub async fn retry<T, E, F, Fut>(&mut self, deadline: Deadline, call: F) -> Result<T, StepError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<EngineError>,
    {
        let mut backoff = Backoff::new(BACKOFF);
        loop {
            match call().await.map_err(Into::into) {
                Ok(value) => return Ok(value),
                Err(error) if error.is_temporary() && !deadline.passed() => {
                    tracing::debug!(task = %self.facts().spec.name, %error, "a call failed; retrying");
                }
                Err(error) => return Err(self.engine_failed(&error)),
            }
            self.pause(backoff.next_pause()).await?;
        }
    }
}
