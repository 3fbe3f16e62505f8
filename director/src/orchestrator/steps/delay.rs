//! The delay between ready workers and the master. Its end is recorded before it is slept, so that
//! a restart does not sleep again.

use super::judge;
use super::of_service;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{StepError, StepResult};
use crate::swarm::SwarmTask;
use crate::task::event::{Event, FailureCode};
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

/// Looks after the workers: before the master exists every lost one ends the run. Docker being away
/// ends nothing here.
pub async fn check_workers(run: &Run) -> Result<(), StepError> {
    match run.shared.swarm.tasks(&run.labels()).await {
        Ok(tasks) => still_those_that_were_ready(run, &tasks),
        Err(error) if error.is_temporary() => Ok(()),
        Err(error) => Err(run.docker_failed(&error)),
    }
}

/// Whether the workers among `tasks` are those whose addresses were told.
///
/// # Errors
/// When one is lost, or is another one.
pub fn still_those_that_were_ready(run: &Run, tasks: &[SwarmTask]) -> Result<(), StepError> {
    let workers = of_service(tasks, run.state.worker.as_deref());
    run.saw_workers(&workers);
    let (replicas, network) = (
        run.spec.worker.replicas,
        run.state.network.clone().unwrap_or_default(),
    );
    match judge::workers(
        &workers,
        replicas,
        &network,
        &run.state.addresses,
        Duration::MAX,
    ) {
        judge::Workers::Ready(_) => Ok(()),
        judge::Workers::Failed(code, message) => Err(run.failed(code, message, "")),
        judge::Workers::Waiting(seen) => {
            let message = format!("the workers are not those that were ready: {seen}");
            Err(run.failed(FailureCode::WorkerFailed, message, ""))
        }
    }
}
