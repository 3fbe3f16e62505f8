//! Interruptible sleeps of a run, default hints, and the run as a [`RunContext`] for the engine.

use super::control::RunControl;
use super::run::Run;
use async_trait::async_trait;
use atq_engine::{Facts, RunContext};
use atq_task::event::{Event, Failure, FailureCode, TASK_ID};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::future::Future;
use std::time::Duration;
use tokio::sync::watch::Receiver;

pub use atq_engine::{Deadline, StepError, StepResult};

impl Run {
    /// Sleeps during a grace period. A delete, or a request to skip grace periods, interrupts it.
    ///
    /// # Errors
    /// [`StepError::Interrupted`] when it is interrupted.
    pub async fn pause_in_grace(&mut self, length: Duration) -> Result<(), StepError> {
        let mut control = self.control.clone();
        let interrupts =
            |control: &RunControl| control.is_deleted() || control.is_newly_forced(&self.state);
        tokio::select! {
            biased;
            Ok(_) = control.wait_for(interrupts) => Err(StepError::Interrupted),
            () = tokio::time::sleep(length) => Ok(()),
        }
    }

    /// Returns when skipping grace periods is newly requested.
    pub fn newly_forced(&self) -> impl Future<Output = ()> + use<> {
        let state = self.state.clone();
        wait_for(self.control.clone(), move |control| {
            control.is_newly_forced(&state)
        })
    }

    /// Sleeps until the next request, even one that changes nothing: a repeated delete retries the removal at once.
    pub async fn pause_until_request(&mut self, length: Duration) {
        let mut control = self.control.clone();
        control.mark_unchanged();
        tokio::select! {
            Ok(()) = control.changed() => {}
            () = tokio::time::sleep(length) => {}
        }
    }

    /// Adds a default hint to a failure that has none.
    pub fn with_hint(&self, failure: Failure) -> Failure {
        let engine = &self.shared.engine;
        let hint = match failure.hint.is_empty() {
            true => engine.advice(failure.code, &failure.message, &self.spec),
            false => failure.hint,
        };
        Failure {
            hint: hint.replace(TASK_ID, self.spec.name.as_str()),
            ..failure
        }
    }
}

#[async_trait]
impl RunContext for Run {
    fn facts(&self) -> Facts<'_> {
        Facts {
            spec: &self.spec,
            state: &self.state,
        }
    }

    fn orchestration_timeout(&self, replicas: u32) -> Duration {
        self.shared.settings.orchestration_timeout(replicas)
    }

    async fn note(&mut self, event: Event) -> Result<(), StepError> {
        self.record(event)
            .await
            .map_err(|bug| self.failed(FailureCode::Internal, &bug.to_string(), ""))
    }

    async fn pause(&mut self, length: Duration) -> Result<(), StepError> {
        tokio::select! {
            biased;
            () = self.interruption() => Err(StepError::Interrupted),
            () = tokio::time::sleep(length) => Ok(()),
        }
    }

    fn interruption(&self) -> BoxFuture<'static, ()> {
        wait_for(self.control.clone(), RunControl::should_end).boxed()
    }
}

/// Returns when a request fulfils the condition.
async fn wait_for(mut control: Receiver<RunControl>, condition: impl Fn(&RunControl) -> bool) {
    if control.wait_for(condition).await.is_err() {
        // The sender was dropped: there are no further requests.
        std::future::pending::<()>().await;
    }
}
