//! Waits. Every one has a deadline, gives way to a stop, and says at the end what was seen.

use super::advice;
use super::run::Run;
use super::steering::Steering;
use crate::swarm::EngineError;
use crate::task::event::{Event, Failure, FailureCode, TASK_ID};
use crate::task::state::Step;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// First pause after a call that failed for a while only.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why a step did not reach its end.
#[derive(Debug)]
pub enum StepError {
    /// The task is to end.
    Interrupted,
    /// The run failed.
    Failed(Failure),
}

/// The result of a step: the event to record.
pub type StepResult = Result<Event, StepError>;

/// The end of a wait, with its length for the message.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    length: Duration,
}

impl Deadline {
    /// `length` from now.
    pub fn after(length: Duration) -> Self {
        Self {
            at: Instant::now() + length,
            length,
        }
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        Instant::now() >= self.at
    }

    /// When it passes.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Its whole length in seconds, for messages.
    pub fn seconds(&self) -> u64 {
        self.length.as_secs()
    }
}

impl Run {
    /// Sleeps, but not beyond the moment at which the task is to end.
    ///
    /// # Errors
    /// [`StepError::Interrupted`] when the task is to end.
    pub async fn pause(&mut self, length: Duration) -> Result<(), StepError> {
        let mut wishes = self.wishes.clone();
        tokio::select! {
            biased;
            () = interrupted(&mut wishes) => Err(StepError::Interrupted),
            () = tokio::time::sleep(length) => Ok(()),
        }
    }

    /// Sleeps while a grace period runs, but not beyond the moment at which the task is to be deleted, or the
    /// grace period is to be skipped.
    ///
    /// # Errors
    /// [`StepError::Interrupted`] when one of them is.
    pub async fn pause_in_grace(&mut self, length: Duration) -> Result<(), StepError> {
        let mut wishes = self.wishes.clone();
        let ends = |steering: &Steering| steering.is_deleted() || steering.hastens(&self.state);
        tokio::select! {
            biased;
            Ok(_) = wishes.wait_for(ends) => Err(StepError::Interrupted),
            () = tokio::time::sleep(length) => Ok(()),
        }
    }

    /// Returns when grace periods are to be skipped from now on.
    pub fn hastened(&self) -> impl Future<Output = ()> + use<> {
        let (mut wishes, state) = (self.wishes.clone(), self.state.clone());
        async move {
            if wishes
                .wait_for(|steering| steering.hastens(&state))
                .await
                .is_err()
            {
                // Nobody can wish any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Sleeps, but not beyond the next wish, also one that changes nothing: who deletes again wants it
    /// tried again.
    pub async fn pause_until_wished(&mut self, length: Duration) {
        let mut wishes = self.wishes.clone();
        wishes.mark_unchanged();
        tokio::select! {
            Ok(()) = wishes.changed() => {}
            () = tokio::time::sleep(length) => {}
        }
    }

    /// Calls Docker until it answers or refuses for good. The call itself is never cut short.
    ///
    /// # Errors
    /// When Docker refused, was away until the deadline, or the task is to end.
    pub async fn docker<T, F, Fut>(&mut self, deadline: Deadline, call: F) -> Result<T, StepError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, EngineError>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(error) if error.is_temporary() && !deadline.passed() => {
                    tracing::debug!(task = %self.spec.name, %error, "Docker call failed; trying again");
                }
                Err(error) => return Err(self.docker_failed(&error)),
            }
            self.pause(pause).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A failure of the present step.
    pub fn failed(
        &self,
        code: FailureCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> StepError {
        StepError::Failed(self.failure(self.state.step, code, message.into(), hint.into()))
    }

    /// One without a hint gets what can be said in general.
    fn failure(&self, step: Step, code: FailureCode, message: String, hint: String) -> Failure {
        let hint = match hint.is_empty() {
            true => advice::of(code, &message, &self.spec),
            false => hint,
        };
        Failure {
            step,
            code,
            message,
            hint: hint.replace(TASK_ID, self.spec.name.as_str()),
        }
    }

    /// A failure of the sidecar, whichever step finds it: it starts beside the workers.
    pub fn sidecar_failed(&self, message: impl Into<String>, hint: impl Into<String>) -> StepError {
        let code = FailureCode::DiscoveryFailed;
        StepError::Failed(self.failure(Step::Discovery, code, message.into(), hint.into()))
    }

    /// The failure that an error of Docker means.
    pub fn docker_failed(&self, error: &EngineError) -> StepError {
        match error.is_temporary() {
            true => self.failed(
                FailureCode::DockerUnavailable,
                error.to_string(),
                "see GET /readyz, and the engine's own log",
            ),
            false => self.failed(FailureCode::DockerRefused, error.to_string(), ""),
        }
    }
}

/// Returns when the task is to end.
pub async fn interrupted(wishes: &mut tokio::sync::watch::Receiver<Steering>) {
    if wishes.wait_for(Steering::ends).await.is_err() {
        // Nobody can wish any more: the wait is bounded by its deadline alone.
        std::future::pending::<()>().await;
    }
}
