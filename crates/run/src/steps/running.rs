//! The step `running`: watches the test until it ends.

use super::of_group;
use super::status::{master_exit, worker_loss};
use crate::interruption::{StepError, StepResult};
use crate::run::Run;
use atq_engine::{EngineError, Member, RunContext};
use atq_task::event::{Event, FailureCode};
use atq_task::spec::OnWorkerLoss;
use std::time::Duration;
use tokio::time::Instant;

/// The end of the test must be detected within a second.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Time beyond the grace period after which a stopped or missing master counts as lost.
const MASTER_LOSS_TIMEOUT: Duration = Duration::from_secs(5);

/// Watches the test until the master has ended or a stop condition is met. The loss of a worker is a separate event,
/// after which the step is repeated.
pub async fn running(run: &mut Run) -> StepResult {
    stop_discovery(run).await;
    let replicas = run.spec.master.replicas;
    let mut engine_unavailable: Option<Instant> = None;
    let mut master_lost: Option<Instant> = None;
    abort_on_loss(run)?;
    run.lose_results();
    loop {
        match run.shared.engine.observe(run.facts()).await {
            Ok(members) => {
                engine_unavailable = None;
                let workers = of_group(&members, run.state.worker.as_deref());
                let masters = of_group(&members, run.state.master.as_deref());
                run.update_workers(&workers);
                run.sample_test_usage(&members);
                if let Some(lost) = newly_lost(run, &workers) {
                    return Ok(lost);
                }
                if let Some(exit_code) = master_exit(&masters, replicas) {
                    return Ok(Event::MasterEnded {
                        exit_code,
                        memory_limit: run.spec.master.resources.limits.memory,
                    });
                }
                run.follow_results(&members).await;
                run.note_ends(&members);
                match is_lost(&masters, replicas) {
                    false => master_lost = None,
                    true => {
                        let since = *master_lost.get_or_insert_with(Instant::now);
                        check_lost_master(run, &masters, since).await?;
                    }
                }
            }
            Err(error) => {
                let since = *engine_unavailable.get_or_insert_with(Instant::now);
                check_unavailable_engine(run, &error, since)?;
            }
        }
        if let Some(met) = run.met_condition() {
            return Ok(met);
        }
        check_duration(run)?;
        run.pause(POLL_INTERVAL).await?;
    }
}

/// Name resolution is not needed any more (thesis, section 5.3.3). If this fails, clean-up removes the resolver.
async fn stop_discovery(run: &Run) {
    if let Err(error) = run.shared.engine.end_discovery(run.facts()).await {
        tracing::warn!(task = %run.spec.name, %error, "cannot stop the name resolver now; clean-up retries");
    }
}

fn newly_lost(run: &Run, workers: &[Member]) -> Option<Event> {
    workers.iter().find_map(|worker| {
        let replica = worker.source.replica;
        let known = run.state.lost.iter().any(|lost| lost.replica == replica);
        let reason = worker_loss(worker).filter(|_| !known)?;
        Some(Event::WorkerLost { replica, reason })
    })
}

/// Fails the run after the loss of a worker if `onWorkerLoss` is `abort`. The loss itself is recorded before.
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
    let hint = "`onWorkerLoss` is `abort`; with `continue` the test continues without the worker";
    Err(run.failed(FailureCode::WorkerLost, &message, hint))
}

/// Whether a replica of the master is missing or on a lost node.
fn is_lost(masters: &[Member], replicas: u32) -> bool {
    let missing = u32::try_from(masters.len()).is_ok_and(|listed| listed < replicas);
    let leaves = |master: &Member| !master.has_ended() && master.leaving;
    missing || masters.iter().any(leaves)
}

/// Fails the run at once if the master's node is down. On a reachable node, for example a drained one, the end and the
/// exit code of the master are still reported, so the run only fails after a timeout.
async fn check_lost_master(run: &Run, masters: &[Member], since: Instant) -> Result<(), StepError> {
    let nodes = run.shared.engine.nodes().await.unwrap_or_default();
    let down = nodes.iter().find(|node| {
        let runs_there = |master: &Member| master.node.as_ref() == Some(&node.id);
        !node.ready && masters.iter().any(runs_there)
    });
    let message = match down {
        Some(node) => format!("the master's node `{}` was lost", node.hostname),
        None if since.elapsed() < run.spec.master.stop_grace() + MASTER_LOSS_TIMEOUT => {
            return Ok(());
        }
        None if masters.is_empty() => "the master's service was removed from outside".to_owned(),
        None => format!(
            "the master was stopped from outside, and {} does not report its end",
            run.shared.engine.name()
        ),
    };
    Err(run.failed(FailureCode::MasterLost, &message, ""))
}

fn check_unavailable_engine(
    run: &Run,
    error: &EngineError,
    since: Instant,
) -> Result<(), StepError> {
    let timeout = run.shared.settings.engine_timeout;
    if since.elapsed() < timeout {
        tracing::debug!(task = %run.spec.name, %error, "the engine is unavailable; the test may still run");
        return Ok(());
    }
    let message = format!(
        "{} was unavailable for {} s while the test ran: {error}",
        run.shared.engine.name(),
        timeout.as_secs()
    );
    let hint = "see GET /readyz, and the engine's own log";
    Err(run.failed(FailureCode::EngineUnavailable, &message, hint))
}

fn check_duration(run: &Run) -> Result<(), StepError> {
    let max_duration = match run.spec.max_duration {
        Some(seconds) => Duration::from_secs(seconds),
        None => run.shared.settings.max_duration,
    };
    if run.shared.clock.now().since(run.state.step_started_at) < max_duration {
        return Ok(());
    }
    let message = format!("the test ran longer than {} s", max_duration.as_secs());
    let hint = "`maxDuration` of the definition sets this limit";
    Err(run.failed(FailureCode::MaxDuration, &message, hint))
}
