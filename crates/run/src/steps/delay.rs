//! The delay between ready workers and the start of the master. Its end is recorded before the sleep, so that it does
//! not start again after a restart.

use super::of_group;
use super::status::{WorkersStatus, workers_status};
use crate::interruption::{StepError, StepResult};
use crate::run::Run;
use atq_engine::{Member, RunContext};
use atq_task::event::{Event, FailureCode};
use std::time::Duration;

const WORKER_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The step `delay`.
pub async fn delay(run: &mut Run) -> StepResult {
    let Some(until) = run.state.delay_until else {
        let delay = Duration::from_secs(run.spec.delay);
        let until = run.shared.clock.now().plus(delay);
        return Ok(Event::DelayStarted { until });
    };
    loop {
        let left = until.since(run.shared.clock.now());
        if left.is_zero() {
            return Ok(Event::DelayEnded);
        }
        check_workers(run).await?;
        run.pause(left.min(WORKER_CHECK_INTERVAL)).await?;
    }
}

/// Checks the workers: before the master exists, the loss of one fails the run. An unavailable engine does not.
pub async fn check_workers(run: &Run) -> Result<(), StepError> {
    match run.shared.engine.observe(run.facts()).await {
        Ok(members) => check_same_workers(run, &members),
        Err(error) if error.is_temporary() => Ok(()),
        Err(error) => Err(run.engine_failed(&error)),
    }
}

/// Checks that the workers among `members` are those that were ready.
///
/// # Errors
/// When one is lost or was replaced.
pub fn check_same_workers(run: &Run, members: &[Member]) -> Result<(), StepError> {
    let workers = of_group(members, run.state.worker.as_deref());
    run.update_workers(&workers);
    let replicas = run.spec.worker.replicas;
    match workers_status(&workers, replicas, &run.state.addresses, Duration::MAX) {
        WorkersStatus::Ready(_) => Ok(()),
        WorkersStatus::Failed(code, message) => Err(run.failed(code, &message, "")),
        WorkersStatus::Waiting(description) => {
            let message = format!("the workers have changed since they were ready: {description}");
            Err(run.failed(FailureCode::WorkerFailed, &message, ""))
        }
    }
}
