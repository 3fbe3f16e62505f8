//! The start of the master.

use super::delay::still_those_that_were_ready;
use super::judge::{self, Start};
use super::{engine_of, members_of_run, of_group, start};
use crate::run::Run;
use crate::wait::{Deadline, StepResult};
use atq_engine::{Course, Part};
use atq_patience::{Backoff, Pauses};
use atq_task::event::{Event, FailureCode};
use std::time::Duration;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(50);
/// Before an engine that is away is asked again.
const AWAY: Pauses = Pauses {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(2),
};

/// Starts the master, then waits until it runs. The first event says that it exists, the
/// second that it runs.
pub async fn master(run: &mut Run) -> StepResult {
    let replicas = run.spec.master.replicas;
    let deadline = Deadline::after(run.patience(replicas));
    let Some(service) = run.state.master.clone() else {
        // The addresses that it is told must be those of workers that are there, also when the engine was
        // away and has just come back.
        let mut backoff = Backoff::new(AWAY);
        let members = loop {
            if let Some(members) = members_of_run(run, deadline).await? {
                break members;
            }
            run.pause(backoff.next_pause()).await?;
        };
        still_those_that_were_ready(run, &members)?;
        let service = start(run, Part::Master, deadline).await?;
        return Ok(Event::MasterCreated { service });
    };
    let begun = Instant::now();
    let mut seen = "no container yet".to_owned();
    loop {
        if let Some(members) = members_of_run(run, deadline).await? {
            run.saw_workers(&of_group(&members, run.state.worker.as_deref()));
            match judge::start(
                &of_group(&members, Some(&service)),
                replicas,
                begun.elapsed(),
            ) {
                Start::Started => return Ok(Event::MasterStarted),
                Start::Failed(code, message) => {
                    let message = engine_of(run)
                        .explain(&run.spec.master.image, message)
                        .await;
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
