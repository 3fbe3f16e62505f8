//! The test runs: follow it to its end, whatever that is.

use super::judge;
use super::of_service;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{StepError, StepResult};
use crate::swarm::{EngineError, SwarmTask};
use crate::task::event::{Event, FailureCode};
use crate::task::spec::OnWorkerLoss;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two looks; the end is to be known within a second.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a master that is told to end may take beyond its grace period, or its service be gone from
/// the list, before that counts.
const MASTER_PATIENCE: Duration = Duration::from_secs(5);

/// Follows the test until the master has ended. A lost worker is an event of its own; then the step
/// is performed again.
pub async fn running(run: &mut Run) -> StepResult {
    remove_sidecar(run).await;
    let replicas = run.spec.master.replicas;
    let mut docker_away: Option<Instant> = None;
    let mut master_lost: Option<Instant> = None;
    abort_on_loss(run)?;
    loop {
        match run.shared.swarm.tasks(&run.labels()).await {
            Ok(tasks) => {
                docker_away = None;
                let workers = of_service(&tasks, run.state.worker.as_deref());
                let masters = of_service(&tasks, run.state.master.as_deref());
                run.saw_workers(&workers);
                run.watch_load(&tasks);
                if let Some(lost) = newly_lost(run, &workers) {
                    return Ok(lost);
                }
                if let Some(exit_code) = judge::end(&masters, replicas) {
                    return Ok(Event::MasterEnded {
                        exit_code,
                        memory_limit: run.spec.master.resources.limits.memory,
                    });
                }
                match is_lost(&masters, replicas) {
                    false => master_lost = None,
                    true => {
                        let since = *master_lost.get_or_insert_with(Instant::now);
                        give_up_on_master(run, &masters, since).await?;
                    }
                }
            }
            Err(error) => {
                let since = *docker_away.get_or_insert_with(Instant::now);
                give_up_on_docker(run, &error, since)?;
            }
        }
        check_duration(run)?;
        run.pause(PAUSE).await?;
    }
}

/// The sidecar has done its work (thesis, section 5.3.3). Clean-up removes it if this fails.
async fn remove_sidecar(run: &Run) {
    let Some(service) = &run.state.discovery else {
        return;
    };
    match run.shared.swarm.remove_service(service).await {
        Ok(()) | Err(EngineError::NotFound { .. }) => {}
        Err(error) => tracing::warn!(task = %run.spec.name, %error, "the sidecar is removed later"),
    }
}

fn newly_lost(run: &Run, workers: &[SwarmTask]) -> Option<Event> {
    workers.iter().find_map(|worker| {
        let known = run
            .state
            .lost
            .iter()
            .any(|lost| lost.replica == worker.slot);
        let reason = judge::loss(worker).filter(|_| !known)?;
        Some(Event::WorkerLost {
            replica: worker.slot,
            reason,
        })
    })
}

/// A loss is recorded first, whatever it means.
fn abort_on_loss(run: &Run) -> Result<(), StepError> {
    if run.spec.on_worker_loss != OnWorkerLoss::Abort {
        return Ok(());
    }
    let Some(lost) = run.state.lost.first() else {
        return Ok(());
    };
    let replicas = run.spec.worker.replicas;
    let message = format!(
        "{} of {replicas} workers lost while the test ran; replica {}: {}",
        run.state.lost.len(),
        lost.replica,
        lost.reason
    );
    let hint = "`onWorkerLoss` is `abort`; with `continue` the test goes on without the worker";
    Err(run.failed(FailureCode::WorkerLost, message, hint))
}

/// Its node went away, or somebody else removed its service.
fn is_lost(masters: &[SwarmTask], replicas: u32) -> bool {
    let missing = u32::try_from(masters.len()).is_ok_and(|seen| seen < replicas);
    missing
        || masters
            .iter()
            .any(|task| !task.state.is_terminal() && judge::is_gone(task))
}

/// At once when its node is down. On a node that can be heard of, for example one that is drained, its
/// end and exit code will be reported.
async fn give_up_on_master(
    run: &Run,
    masters: &[SwarmTask],
    since: Instant,
) -> Result<(), StepError> {
    let nodes = run.shared.swarm.nodes().await.unwrap_or_default();
    let down = nodes.iter().find(|node| {
        let runs_there = |task: &SwarmTask| task.node_id.as_ref() == Some(&node.id);
        !node.ready && masters.iter().any(runs_there)
    });
    let words = match down {
        Some(node) => format!("the master's node `{}` was lost", node.hostname),
        None if since.elapsed() < run.spec.master.stop_grace() + MASTER_PATIENCE => return Ok(()),
        None if masters.is_empty() => {
            "the master's service is gone; somebody else removed it".to_owned()
        }
        None => "the master was told to end, and Docker does not say that it has".to_owned(),
    };
    Err(run.failed(FailureCode::MasterLost, words, ""))
}

fn give_up_on_docker(run: &Run, error: &EngineError, since: Instant) -> Result<(), StepError> {
    let patience = run.shared.settings.docker_patience;
    if since.elapsed() < patience {
        tracing::debug!(task = %run.spec.name, %error, "Docker is away; the test may still run");
        return Ok(());
    }
    let message = format!(
        "Docker has been away for {} s while the test ran: {error}",
        patience.as_secs()
    );
    Err(run.failed(
        FailureCode::DockerUnavailable,
        message,
        "see GET /readyz, and the engine's own log",
    ))
}

fn check_duration(run: &Run) -> Result<(), StepError> {
    let ran = run.shared.clock.now().since(run.state.step_started_at);
    let longest = match run.spec.max_duration {
        Some(seconds) => Duration::from_secs(seconds),
        None => run.shared.settings.max_duration,
    };
    match ran < longest {
        true => Ok(()),
        false => {
            let message = format!("the test ran longer than {} s", longest.as_secs());
            let hint = "`maxDuration` of the definition sets how long it may run";
            Err(run.failed(FailureCode::MaxDuration, message, hint))
        }
    }
}
