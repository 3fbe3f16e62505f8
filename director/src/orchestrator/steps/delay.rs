//! The delay between ready workers and the master. Its end is recorded before it is slept, so that
//! a restart does not sleep again.

use super::judge;
use super::{StepResult, of_service, tasks_of_run};
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::StepError;
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

/// Before the master exists every lost worker ends the run.
pub async fn check_workers(run: &mut Run) -> Result<(), StepError> {
    let Some(tasks) = tasks_of_run(run).await? else {
        return Ok(());
    };
    let workers = of_service(&tasks, run.state.worker.as_deref());
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
        judge::Workers::Failed(code, message) => Err(run.failed(code, message, judge::hint(code))),
        judge::Workers::Waiting(seen) => {
            let message = format!("the workers are not those that were ready: {seen}");
            Err(run.failed(FailureCode::WorkerFailed, message, ""))
        }
    }
}
