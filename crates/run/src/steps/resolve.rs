//! The step `resolve`: waits for the workers. They are ready when the engine reports all of them as running *and* their
//! name resolves to the same addresses. Neither alone is sufficient (ARCHITECTURE.md, How Docker Swarm behaves).

use super::status::{WorkersStatus, start_skew, workers_status};
use super::{engine_of, of_group};
use crate::interruption::{Deadline, StepError, StepResult};
use crate::run::Run;
use atq_engine::{Resolver, RunContext};
use atq_task::event::{Event, FailureCode};
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two observations. The engine limits the rate of its own calls.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until all workers are ready. Workers and name resolver start in parallel; only this step waits for them.
pub async fn resolve(run: &mut Run) -> StepResult {
    let replicas = run.spec.worker.replicas;
    let deadline = Deadline::after(run.orchestration_timeout(replicas));
    let started = Instant::now();
    let engine = engine_of(run);
    let mut resolver = engine.resolver();
    let mut status = "no status yet".to_owned();
    loop {
        if let Some(members) = resolver.observe(run, deadline).await? {
            let dns = resolver.resolution().addresses;
            let workers = of_group(&members, run.state.worker.as_deref());
            run.update_workers(&workers);
            match workers_status(&workers, replicas, &dns, started.elapsed()) {
                WorkersStatus::Ready(addresses) => {
                    return Ok(Event::WorkersReady {
                        addresses,
                        start_skew: start_skew(&workers),
                    });
                }
                WorkersStatus::Failed(code, message) => {
                    let message = engine.explain(&run.spec.worker.image, message).await;
                    return Err(run.failed(code, &message, ""));
                }
                WorkersStatus::Waiting(description) => status = description,
            }
            resolver.poll(run, deadline).await?;
        }
        if deadline.passed() {
            return Err(timed_out(run, deadline, &status, &mut *resolver));
        }
        tokio::select! {
            paused = run.pause(POLL_INTERVAL) => paused?,
            () = resolver.answered() => {}
        }
    }
}

fn timed_out(
    run: &Run,
    deadline: Deadline,
    status: &str,
    resolver: &mut dyn Resolver,
) -> StepError {
    let seconds = deadline.seconds();
    if let Some(state) = resolver.not_ready() {
        let message = format!(
            "{} was not ready after {seconds} s: {state}; {status}",
            resolver.noun()
        );
        return resolver.failed(run.facts(), message, "");
    }
    let resolved = resolver.resolution();
    let error = resolved
        .error
        .map_or(String::new(), |error| format!("; {error}"));
    if !resolved.answered {
        let message = format!(
            "{} was not reached within {seconds} s{error}",
            resolver.noun()
        );
        return resolver.failed(run.facts(), message, resolver.unreached_hint());
    }
    let message = format!("the workers were not ready after {seconds} s: {status}{error}");
    let hint = "`orchestrationTimeout` sets this timeout";
    run.failed(FailureCode::WorkersTimedOut, &message, hint)
}
