//! The wait for the workers: they are ready when the engine sees all of them run *and* their name resolves to the
//! same addresses. Neither is proof alone (ARCHITECTURE.md, How Docker Swarm behaves).

use super::judge::{self, Workers};
use super::{engine_of, of_group};
use crate::run::Run;
use crate::wait::{Deadline, StepError, StepResult};
use atq_engine::{Course, Lookout};
use atq_task::event::{Event, FailureCode};
use std::time::Duration;
use tokio::time::Instant;

/// Waits until all workers are ready. They and what resolves their name start side by side; this is the
/// one place where both are waited for.
pub async fn resolve(run: &mut Run) -> StepResult {
    let replicas = run.spec.worker.replicas;
    let deadline = Deadline::after(run.patience(replicas));
    let begun = Instant::now();
    let engine = engine_of(run);
    let mut lookout = engine.lookout();
    let mut seen = "nothing yet".to_owned();
    loop {
        let asked = Instant::now();
        if let Some(members) = lookout.observe(run, deadline).await? {
            let dns = lookout.looked_up().addresses;
            let workers = of_group(&members, run.state.worker.as_deref());
            run.saw_workers(&workers);
            match judge::workers(&workers, replicas, &dns, begun.elapsed()) {
                Workers::Ready(addresses) => {
                    return Ok(Event::WorkersReady {
                        addresses,
                        start_skew: judge::start_skew(&workers),
                    });
                }
                Workers::Failed(code, message) => {
                    let message = engine.explain(&run.spec.worker.image, message).await;
                    return Err(run.failed(code, message, ""));
                }
                Workers::Waiting(what) => seen = what,
            }
            lookout.look(run, deadline).await?;
        }
        if deadline.passed() {
            return Err(timed_out(run, deadline, &seen, &mut *lookout));
        }
        let pause = pause_after(asked.elapsed(), replicas);
        tokio::select! {
            paused = run.pause(pause) => paused?,
            () = lookout.answered() => {}
        }
    }
}

/// A busy engine is polled less often.
fn pause_after(answer: Duration, replicas: u32) -> Duration {
    let base = if replicas <= 30 { 50 } else { 250 };
    Duration::from_millis(base).max(answer * 3)
}

fn timed_out(run: &Run, deadline: Deadline, seen: &str, lookout: &mut dyn Lookout) -> StepError {
    let seconds = deadline.seconds();
    if let Some(state) = lookout.not_ready() {
        let message = format!(
            "{} was not ready after {seconds} s: {state}; {seen}",
            lookout.noun()
        );
        return lookout.failed(run.facts(), message, "");
    }
    let said = lookout.looked_up();
    let error = said
        .error
        .map_or(String::new(), |error| format!("; {error}"));
    if !said.answered {
        let message = format!(
            "{} was not reached within {seconds} s{error}",
            lookout.noun()
        );
        return lookout.failed(run.facts(), message, lookout.unreached_hint());
    }
    let message = format!("the workers were not ready after {seconds} s: {seen}{error}");
    let hint = "`orchestrationTimeout` sets how long is waited";
    run.failed(FailureCode::WorkersTimedOut, message, hint)
}
