//! Waits. Every one has a deadline, gives way to a stop, and says at the end what was seen.

use super::run::Run;
use super::steering::Steering;
use async_trait::async_trait;
use atq_engine::{Course, EngineError, Facts};
use atq_task::event::{Event, Failure, FailureCode, TASK_ID};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::future::Future;
use std::time::Duration;

pub use atq_engine::{Deadline, StepError, StepResult};

impl Run {
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

    /// A failure of the present step.
    pub fn failed(
        &self,
        code: FailureCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> StepError {
        self.facts().failed(code, message, hint)
    }

    /// The failure that an error of the engine means.
    pub fn engine_failed(&self, error: &EngineError) -> StepError {
        self.facts().engine_failed(error)
    }

    /// Adds a default hint to a failure that has none.
    pub fn with_hint(&self, failure: Failure) -> Failure {
        let hint = match failure.hint.is_empty() {
            true => {
                let engine = &self.shared.engine;
                engine.advice(failure.code, &failure.message, &self.spec)
            }
            false => failure.hint,
        };
        Failure {
            hint: hint.replace(TASK_ID, self.spec.name.as_str()),
            ..failure
        }
    }
}

#[async_trait]
impl Course for Run {
    fn facts(&self) -> Facts<'_> {
        Facts {
            spec: &self.spec,
            state: &self.state,
        }
    }

    fn patience(&self, replicas: u32) -> Duration {
        self.shared.settings.orchestration_timeout(replicas)
    }

    async fn note(&mut self, event: Event) -> Result<(), StepError> {
        self.record(event)
            .await
            .map_err(|bug| self.failed(FailureCode::Internal, bug.to_string(), ""))
    }

    async fn pause(&mut self, length: Duration) -> Result<(), StepError> {
        tokio::select! {
            biased;
            () = self.interruption() => Err(StepError::Interrupted),
            () = tokio::time::sleep(length) => Ok(()),
        }
    }

    fn interruption(&self) -> BoxFuture<'static, ()> {
        let mut wishes = self.wishes.clone();
        async move { interrupted(&mut wishes).await }.boxed()
    }
}

/// Returns when the task is to end.
pub async fn interrupted(wishes: &mut tokio::sync::watch::Receiver<Steering>) {
    if wishes.wait_for(Steering::ends).await.is_err() {
        // Nobody can wish any more: the wait is bounded by its deadline alone.
        std::future::pending::<()>().await;
    }
}
