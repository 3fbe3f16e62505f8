//! The test runs: follow it to its end, whatever that is.

use super::judge;
use super::of_group;
use crate::run::Run;
use crate::wait::{StepError, StepResult};
use atq_engine::{Course, EngineError, Member};
use atq_task::event::{Event, FailureCode};
use atq_task::spec::OnWorkerLoss;
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
    end_discovery(run).await;
    let replicas = run.spec.master.replicas;
    let mut engine_away: Option<Instant> = None;
    let mut master_lost: Option<Instant> = None;
    abort_on_loss(run)?;
    loop {
        match run.shared.engine.observe(run.facts()).await {
            Ok(members) => {
                engine_away = None;
                let workers = of_group(&members, run.state.worker.as_deref());
                let masters = of_group(&members, run.state.master.as_deref());
                run.saw_workers(&workers);
                run.watch_load(&members);
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
                let since = *engine_away.get_or_insert_with(Instant::now);
                give_up_on_engine(run, &error, since)?;
            }
        }
        check_duration(run)?;
        run.pause(PAUSE).await?;
    }
}

/// Nobody needs to resolve names any more (thesis, section 5.3.3). Clean-up ends it if this fails.
async fn end_discovery(run: &Run) {
    if let Err(error) = run.shared.engine.end_discovery(run.facts()).await {
        tracing::warn!(task = %run.spec.name, %error, "cannot stop discovery now; clean-up tries again");
    }
}

fn newly_lost(run: &Run, workers: &[Member]) -> Option<Event> {
    workers.iter().find_map(|worker| {
        let replica = worker.source.replica;
        let known = run.state.lost.iter().any(|lost| lost.replica == replica);
        let reason = judge::loss(worker).filter(|_| !known)?;
        Some(Event::WorkerLost { replica, reason })
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
fn is_lost(masters: &[Member], replicas: u32) -> bool {
    let missing = u32::try_from(masters.len()).is_ok_and(|seen| seen < replicas);
    missing
        || masters
            .iter()
            .any(|master| !master.has_ended() && master.leaving)
}

/// At once when its node is down. On a node that can be heard of, for example one that is drained, its
/// end and exit code will be reported.
async fn give_up_on_master(run: &Run, masters: &[Member], since: Instant) -> Result<(), StepError> {
    let nodes = run.shared.engine.nodes().await.unwrap_or_default();
    let down = nodes.iter().find(|node| {
        let runs_there = |master: &Member| master.node.as_ref() == Some(&node.id);
        !node.ready && masters.iter().any(runs_there)
    });
    let words = match down {
        Some(node) => format!("the master's node `{}` was lost", node.hostname),
        None if since.elapsed() < run.spec.master.stop_grace() + MASTER_PATIENCE => return Ok(()),
        None if masters.is_empty() => {
            "the master's service is gone; somebody else removed it".to_owned()
        }
        None => format!(
            "the master was told to end, and {} does not report that it has",
            run.shared.engine.name()
        ),
    };
    Err(run.failed(FailureCode::MasterLost, words, ""))
}

fn give_up_on_engine(run: &Run, error: &EngineError, since: Instant) -> Result<(), StepError> {
    let patience = run.shared.settings.engine_patience;
    if since.elapsed() < patience {
        tracing::debug!(task = %run.spec.name, %error, "the engine is away; the test may still run");
        return Ok(());
    }
    let message = format!(
        "{} has been away for {} s while the test ran: {error}",
        run.shared.engine.name(),
        patience.as_secs()
    );
    Err(run.failed(
        FailureCode::EngineUnavailable,
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
