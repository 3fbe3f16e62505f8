//! The delay between ready workers and the master. Its end is recorded before it is slept, so that
//! a restart does not sleep again.

use super::judge;
use super::of_group;
use crate::run::Run;
use crate::wait::{StepError, StepResult};
use atq_engine::{Course, Member};
use atq_task::event::{Event, FailureCode};
use std::time::Duration;

/// Time between two looks at the workers.
const LOOK: Duration = Duration::from_millis(500);

/// Sleeps the delay.
pub async fn delay(run: &mut Run) -> StepResult {
    let Some(until) = run.state.delay_until else {
        let until = run
            .shared
            .clock
            .now()
            .plus(Duration::from_secs(run.spec.delay));
        return Ok(Event::DelayStarted { until });
    };
    loop {
        let left = until.since(run.shared.clock.now());
        if left.is_zero() {
            return Ok(Event::DelayEnded);
        }
        check_workers(run).await?;
        run.pause(left.min(LOOK)).await?;
    }
}

/// Looks after the workers: before the master exists every lost one ends the run. The engine being away
/// ends nothing here.
pub async fn check_workers(run: &Run) -> Result<(), StepError> {
    match run.shared.engine.observe(run.facts()).await {
        Ok(members) => still_those_that_were_ready(run, &members),
        Err(error) if error.is_temporary() => Ok(()),
        Err(error) => Err(run.engine_failed(&error)),
    }
}

/// Whether the workers among `members` are those whose addresses were told.
///
/// # Errors
/// When one is lost, or is another one.
pub fn still_those_that_were_ready(run: &Run, members: &[Member]) -> Result<(), StepError> {
    let workers = of_group(members, run.state.worker.as_deref());
    run.saw_workers(&workers);
    let replicas = run.spec.worker.replicas;
    match judge::workers(&workers, replicas, &run.state.addresses, Duration::MAX) {
        judge::Workers::Ready(_) => Ok(()),
        judge::Workers::Failed(code, message) => Err(run.failed(code, message, "")),
        judge::Workers::Waiting(seen) => {
            let message = format!("the workers are not those that were ready: {seen}");
            Err(run.failed(FailureCode::WorkerFailed, message, ""))
        }
    }
}
