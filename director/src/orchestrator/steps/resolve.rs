//! The wait for the workers: ready are they when Swarm says that all run *and* the sidecar sees the
//! same addresses in DNS. Neither is proof alone (ARCHITECTURE.md, How Docker Swarm behaves).

use super::judge::{self, Workers};
use super::look_up::Sidecar;
use super::{of_service, tasks_of_run};
use crate::orchestrator::image_reason::explain;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError, StepResult};
use crate::task::event::{Event, FailureCode};
use std::time::Duration;
use tokio::time::Instant;

/// Waits until all workers are ready. The sidecar and the workers start side by side; this is the
/// one place where both are waited for.
pub async fn resolve(run: &mut Run) -> StepResult {
    let replicas = run.spec.worker.replicas;
    let deadline = Deadline::after(run.orchestration_timeout(replicas));
    let network = run.state.network.clone().unwrap_or_default();
    let begun = Instant::now();
    let mut sidecar = Sidecar::new();
    let mut seen = "nothing yet".to_owned();
    loop {
        let asked = Instant::now();
        if let Some(tasks) = tasks_of_run(run, deadline).await? {
            let dns = sidecar.said().addresses;
            let workers = of_service(&tasks, run.state.worker.as_deref());
            run.saw_workers(&workers);
            match judge::workers(&workers, replicas, &network, &dns, begun.elapsed()) {
                Workers::Ready(addresses) => {
                    return Ok(Event::WorkersReady {
                        addresses,
                        start_skew: judge::start_skew(&workers),
                    });
                }
                Workers::Failed(code, message) => {
                    let message = explain(run, &run.spec.worker.image, message).await;
                    return Err(run.failed(code, message, ""));
                }
                Workers::Waiting(what) => seen = what,
            }
            sidecar.look(run, &tasks, deadline).await?;
        }
        if deadline.passed() {
            return Err(timed_out(run, deadline, &seen, &mut sidecar));
        }
        let pause = pause_after(asked.elapsed(), replicas);
        tokio::select! {
            paused = run.pause(pause) => paused?,
            () = sidecar.answered() => {}
        }
    }
}

/// A Swarm that is busy starting containers is not asked more often than it answers with ease.
fn pause_after(answer: Duration, replicas: u32) -> Duration {
    let base = if replicas <= 30 { 50 } else { 250 };
    Duration::from_millis(base).max(answer * 3)
}

fn timed_out(run: &Run, deadline: Deadline, seen: &str, sidecar: &mut Sidecar) -> StepError {
    let seconds = deadline.seconds();
    if let Some(state) = sidecar.not_ready() {
        let message = format!("the sidecar was not ready after {seconds} s: {state}; {seen}");
        return run.sidecar_failed(message, "");
    }
    let said = sidecar.said();
    let error = said
        .error
        .map_or(String::new(), |error| format!("; {error}"));
    if !said.answered {
        let message = format!("the sidecar was not reached within {seconds} s{error}");
        let hint = "when the Director runs in a container, it must be on the `host` network; \
                    `discoveryHost` names another address";
        return run.sidecar_failed(message, hint);
    }
    let message = format!("the workers were not ready after {seconds} s: {seen}{error}");
    let hint = "`orchestrationTimeout` sets how long is waited";
    run.failed(FailureCode::WorkersTimedOut, message, hint)
}
