//! The wait for the workers: ready are they when Swarm says that all run *and* the sidecar sees the
//! same addresses in DNS. Neither is proof alone (SWARM.md, section 1).

use super::judge::{self, Workers};
use super::{StepResult, of_service, tasks_of_run};
use crate::discovery::DiscoveryError;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError};
use crate::swarm::SwarmTask;
use crate::task::event::{Event, FailureCode};
use crate::task::spec::WORKERS_NAME;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Longest single question to the sidecar.
const LONG_POLL: Duration = Duration::from_secs(5);
/// Pause between two questions: an answer may come at once and still settle nothing.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(100);

/// Waits until all workers are ready.
pub async fn resolve(run: &mut Run) -> StepResult {
    let replicas = run.spec.worker.replicas;
    let deadline = Deadline::after(run.orchestration_timeout(replicas));
    let network = run.state.network.clone().unwrap_or_default();
    let begun = Instant::now();
    let mut look_up = LookUp::start(run);
    let mut seen = "nothing yet".to_owned();
    loop {
        let asked = Instant::now();
        let dns = look_up.last();
        if let Some(tasks) = tasks_of_run(run).await? {
            let workers = of_service(&tasks, run.state.worker.as_deref());
            run.saw_workers(&workers);
            match judge::workers(
                &workers,
                replicas,
                &network,
                &dns.addresses,
                begun.elapsed(),
            ) {
                Workers::Ready(addresses) => return Ok(Event::WorkersReady { addresses }),
                Workers::Failed(code, message) => return Err(run.failed(code, message, "")),
                Workers::Waiting(what) => seen = what,
            }
            check_sidecar(run, &tasks)?;
        }
        if deadline.passed() {
            return Err(timed_out(run, deadline, &seen, dns.error.as_ref()));
        }
        let pause = pause_after(asked.elapsed(), replicas);
        tokio::select! {
            paused = run.pause(pause) => paused?,
            () = look_up.changed() => {}
        }
    }
}

/// A Swarm that is busy starting containers is not asked more often than it answers with ease.
fn pause_after(answer: Duration, replicas: u32) -> Duration {
    let base = if replicas <= 30 { 50 } else { 250 };
    Duration::from_millis(base).max(answer * 3)
}

fn check_sidecar(run: &Run, tasks: &[SwarmTask]) -> Result<(), StepError> {
    match of_service(tasks, run.state.discovery.as_deref())
        .iter()
        .find(|task| judge::is_gone(task))
    {
        Some(task) => {
            let message = format!("the sidecar ended: {}", judge::reason(task));
            Err(run.failed(FailureCode::DiscoveryFailed, message, ""))
        }
        None => Ok(()),
    }
}

fn timed_out(
    run: &Run,
    deadline: Deadline,
    seen: &str,
    error: Option<&DiscoveryError>,
) -> StepError {
    let mut message = format!(
        "the workers were not ready after {} s: {seen}",
        deadline.seconds()
    );
    if let Some(error) = error {
        message = format!("{message}; {error}");
    }
    run.failed(
        FailureCode::WorkersTimedOut,
        message,
        "`orchestrationTimeout` sets how long is waited",
    )
}

/// What the sidecar said last.
#[derive(Debug, Clone, Default)]
struct LookedUp {
    addresses: Vec<Ipv4Addr>,
    error: Option<DiscoveryError>,
}

/// Questions to the sidecar, one after the other, beside the look at Swarm.
struct LookUp {
    answers: watch::Receiver<LookedUp>,
    _asking: AbortOnDropHandle<()>,
}

impl LookUp {
    fn start(run: &Run) -> Self {
        let (sender, answers) = watch::channel(LookedUp::default());
        let discovery = Arc::clone(&run.shared.discovery);
        let endpoint = run.state.endpoint.clone().unwrap_or_default();
        let token = run.state.token.clone();
        let replicas = run.spec.worker.replicas;
        let asking = tokio::spawn(async move {
            loop {
                let answer = discovery
                    .addresses(&endpoint, &token, WORKERS_NAME, replicas, LONG_POLL)
                    .await;
                // The error stays beside the addresses of the last good answer: one bad one proves nothing.
                sender.send_modify(|last| match answer {
                    Ok(addresses) => {
                        *last = LookedUp {
                            addresses,
                            error: None,
                        }
                    }
                    Err(error) => last.error = Some(error),
                });
                tokio::time::sleep(LOOK_UP_PAUSE).await;
            }
        });
        Self {
            answers,
            _asking: AbortOnDropHandle::new(asking),
        }
    }

    fn last(&mut self) -> LookedUp {
        self.answers.borrow_and_update().clone()
    }

    async fn changed(&mut self) {
        if self.answers.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
