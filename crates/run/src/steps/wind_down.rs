//! The end of containers that still run when the outcome is fixed: SIGTERM, their grace period unless it is to be
//! skipped, and their last words. Nothing is removed until that is kept, because an engine forgets exit codes and
//! logs with what it removes (ARCHITECTURE.md, How Docker Swarm behaves).

use super::{collect, of_group};
use crate::run::Run;
use crate::wait::{Deadline, StepError};
use atq_engine::{Course, EngineError, Member, Phase};
use atq_task::event::Event;
use std::time::Duration;
use tokio::time::Instant;

/// How long last words are read: what was read before is kept already.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
/// State of a worker that runs, as events have it.
const RUNNING: &str = "running";
/// What an end may take beyond the grace period: the order goes through the manager to the node, and
/// the report goes back.
const REPORT: Duration = Duration::from_secs(5);

/// Ends a test that still runs: first the master, which may have to hear from its workers while it
/// writes its results, then the workers. A master that does not run yet is kept from starting; nothing
/// happens when it has ended.
///
/// # Errors
/// [`StepError::Interrupted`] when grace periods are to be skipped from now on.
pub async fn end_test(run: &mut Run) -> Result<(), StepError> {
    let (Some(master), Some(worker)) = (run.state.master.clone(), run.state.worker.clone()) else {
        return Ok(());
    };
    let begun = still_running(run, &master).await;
    let runs = begun.map_or(true, |running| running > 0);
    if runs || may_start(run, &master).await {
        end(run, &master, run.spec.master.stop_grace()).await?;
    }
    match runs {
        true => end(run, &worker, run.spec.worker.stop_grace()).await,
        false => Ok(()),
    }
}

/// Whether a worker was still running when the evidence was kept, or the engine did not answer.
pub fn is_due(run: &Run) -> bool {
    let state = &run.state;
    let still_ran = || state.workers.iter().any(|worker| worker.state == RUNNING);
    !state.heard_out
        && state.cleanups == 0
        && state.worker.is_some()
        && (state.unlooked || still_ran())
}

/// Ends the workers and keeps their logs once more, now with their last words; `None` when nobody
/// wants them.
///
/// # Errors
/// As [`end_test`].
pub async fn last_words(run: &mut Run) -> Result<Option<Event>, StepError> {
    let Some(worker) = run.state.worker.clone() else {
        return Ok(None);
    };
    if run.desired().is_deleted() {
        return Ok(None);
    }
    end(run, &worker, run.spec.worker.stop_grace()).await?;
    if run.desired().is_deleted() {
        return Ok(None);
    }
    Ok(Some(collect::keep_all(run, PATIENCE).await))
}

/// Tells the containers of `group` to end and waits until they have; when grace periods are skipped, it kills all
/// containers of the run. A delete cuts the wait short: then nobody wants to hear them, and clean-up kills.
async fn end(run: &mut Run, group: &str, grace: Duration) -> Result<(), StepError> {
    let mut deadline = Deadline::after(grace + REPORT);
    let mut told = false;
    let begun = Instant::now();
    loop {
        if !told {
            told = match tell(run, group).await {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!(task = %run.spec.name, %error, "containers cannot be told to end before they are removed");
                    return Ok(());
                }
            };
            if told && run.state.forced && !run.desired().is_deleted() {
                run.shared.engine.kill(run.facts()).await;
                deadline = Deadline::after(REPORT);
            }
        }
        let seen = still_running(run, group).await;
        if told && seen.as_ref().is_ok_and(|running| *running == 0) {
            tracing::debug!(task = %run.spec.name, took = ?begun.elapsed(), "containers ended");
            return Ok(());
        }
        if deadline.passed() {
            tracing::warn!(task = %run.spec.name, ?seen, "containers did not end within {} s", deadline.seconds());
            return Ok(());
        }
        if let Err(interrupted) = run.pause_in_grace(PAUSE).await {
            return match run.steering().hastens(&run.state) {
                true => Err(interrupted),
                false => Ok(()),
            };
        }
    }
}

/// Whether there is nothing more to tell; the error is one for good.
async fn tell(run: &Run, group: &str) -> Result<bool, EngineError> {
    match run.shared.engine.stop(group).await {
        Ok(()) => Ok(true),
        Err(error) if error.is_temporary() => {
            tracing::debug!(task = %run.spec.name, %error, "cannot tell containers to end; trying again");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether a container of `group` may still come to run.
async fn may_start(run: &Run, group: &str) -> bool {
    let members = run.shared.engine.observe(run.facts()).await;
    let waits = |member: &Member| !member.is_gone();
    members.map_or(true, |members| {
        of_group(&members, Some(group)).iter().any(waits)
    })
}

/// How many containers of `group` still run, on nodes that can be heard of.
async fn still_running(run: &Run, group: &str) -> Result<usize, EngineError> {
    let members = run.shared.engine.observe(run.facts()).await?;
    let mut running = of_group(&members, Some(group));
    running.retain(|member| matches!(member.phase, Phase::Starting | Phase::Running));
    if running.is_empty() {
        return Ok(0);
    }
    let nodes = run.shared.engine.nodes().await?;
    let is_down = |member: &Member| {
        nodes
            .iter()
            .any(|node| Some(&node.id) == member.node.as_ref() && !node.ready)
    };
    Ok(running.iter().filter(|member| !is_down(member)).count())
}
