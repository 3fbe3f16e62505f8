//! The start of the master.

use super::delay::still_those_that_were_ready;
use super::judge::{self, Start};
use super::workers::{bundle_of, subnet_of};
use super::{ensure_service, of_service, tasks_of_run};
use crate::orchestrator::image_reason::explain;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepResult};
use crate::task::event::{Event, FailureCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(50);

/// Creates the master's service, then waits until it runs. The first event says that it exists, the
/// second that it runs.
pub async fn master(run: &mut Run) -> StepResult {
    let replicas = run.spec.master.replicas;
    let deadline = Deadline::after(run.orchestration_timeout(replicas));
    let Some(service) = run.state.master.clone() else {
        // The addresses that it is told must be those of workers that are there, also when Docker was
        // away and has just come back.
        let (swarm, labels) = (Arc::clone(&run.shared.swarm), run.labels());
        let tasks = run.docker(deadline, || swarm.tasks(&labels)).await?;
        still_those_that_were_ready(run, &tasks)?;
        let bundle = bundle_of(run, &run.spec.master)?;
        let plan = run
            .plan()
            .master(subnet_of(run)?, bundle, &run.state.addresses);
        let service = ensure_service(run, deadline, plan).await?;
        return Ok(Event::MasterCreated { service });
    };
    let begun = Instant::now();
    let mut seen = "no Swarm task yet".to_owned();
    loop {
        if let Some(tasks) = tasks_of_run(run, deadline).await? {
            run.saw_workers(&of_service(&tasks, run.state.worker.as_deref()));
            match judge::start(
                &of_service(&tasks, Some(&service)),
                replicas,
                begun.elapsed(),
            ) {
                Start::Started => return Ok(Event::MasterStarted),
                Start::Failed(code, message) => {
                    let message = explain(run, &run.spec.master.image, message).await;
                    return Err(run.failed(code, message, ""));
                }
                Start::Waiting(what) => seen = what,
            }
        }
        if deadline.passed() {
            let message = format!(
                "the master did not run after {} s: {seen}",
                deadline.seconds()
            );
            return Err(run.failed(
                FailureCode::MasterTimedOut,
                message,
                "`orchestrationTimeout` sets how long is waited",
            ));
        }
        run.pause(PAUSE).await?;
    }
}
