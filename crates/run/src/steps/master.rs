//! The step `master`: starts the master.

use super::delay::check_same_workers;
use super::status::{MasterStatus, master_status};
use super::{engine_of, members_of_run, of_group};
use crate::interruption::{Deadline, StepResult};
use crate::run::Run;
use atq_engine::{Part, RunContext};
use atq_retry::{Backoff, Pauses};
use atq_task::event::{Event, FailureCode};
use std::time::Duration;
use tokio::time::Instant;

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Backoff while the engine is unavailable.
const BACKOFF: Pauses = Pauses {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(2),
};

/// Starts the master and waits until it runs. The first event records that it exists, the second that it runs.
pub async fn master(run: &mut Run) -> StepResult {
    let replicas = run.spec.master.replicas;
    let deadline = Deadline::after(run.orchestration_timeout(replicas));
    let Some(service) = run.state.master.clone() else {
        // The master gets the addresses of the workers, so they must still be valid, even if the engine was
        // unavailable until now.
        let mut backoff = Backoff::new(BACKOFF);
        let members = loop {
            if let Some(members) = members_of_run(run, deadline).await? {
                break members;
            }
            run.pause(backoff.next_pause()).await?;
        };
        check_same_workers(run, &members)?;
        let service = engine_of(run).start(run, Part::Master, deadline).await?;
        return Ok(Event::MasterCreated { service });
    };
    let started = Instant::now();
    let mut status = "no container yet".to_owned();
    loop {
        if let Some(members) = members_of_run(run, deadline).await? {
            run.update_workers(&of_group(&members, run.state.worker.as_deref()));
            let masters = of_group(&members, Some(&service));
            match master_status(&masters, replicas, started.elapsed()) {
                MasterStatus::Ready(()) => return Ok(Event::MasterStarted),
                MasterStatus::Failed(code, message) => {
                    let engine = engine_of(run);
                    let message = engine.explain(&run.spec.master.image, message).await;
                    return Err(run.failed(code, &message, ""));
                }
                MasterStatus::Waiting(description) => status = description,
            }
        }
        if deadline.passed() {
            let seconds = deadline.seconds();
            let message = format!("the master did not start within {seconds} s: {status}");
            let hint = "`orchestrationTimeout` sets this timeout";
            return Err(run.failed(FailureCode::MasterTimedOut, &message, hint));
        }
        run.pause(POLL_INTERVAL).await?;
    }
}
