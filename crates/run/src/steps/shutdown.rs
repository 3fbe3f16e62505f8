//! Graceful shutdown of containers that still run when the outcome is fixed: SIGTERM, their grace period unless it is
//! skipped, and their final logs. Nothing is removed before these are kept, because an engine drops exit codes and logs
//! with the objects that it removes (ARCHITECTURE.md, How Docker Swarm behaves).

use super::{collect, of_group};
use crate::interruption::{Deadline, StepError};
use crate::run::Run;
use atq_engine::{EngineError, Member, Phase, RunContext};
use atq_task::event::Event;
use std::time::Duration;
use tokio::time::Instant;

/// Timeout for reading the final logs; earlier lines are already kept.
const LOG_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// State of a running worker in events.
const RUNNING: &str = "running";
/// Additional time beyond the grace period: the request goes through the manager to the node, and the report back.
const REPORT_DELAY: Duration = Duration::from_secs(5);

/// Stops a test that still runs: first the master, which may need its workers while it writes its results, then the
/// workers. A master that does not run yet is prevented from starting. Does nothing if the master has ended.
///
/// # Errors
/// [`StepError::Interrupted`] when skipping grace periods is newly requested.
pub async fn stop_test(run: &mut Run) -> Result<(), StepError> {
    let (Some(master), Some(worker)) = (run.state.master.clone(), run.state.worker.clone()) else {
        return Ok(());
    };
    let running = still_running(run, &master).await;
    let runs = running.map_or(true, |running| running > 0);
    if runs || may_start(run, &master).await {
        stop_group(run, &master, run.spec.master.stop_grace()).await?;
    }
    match runs {
        true => stop_group(run, &worker, run.spec.worker.stop_grace()).await,
        false => Ok(()),
    }
}

/// Whether a worker was still running when the evidence was kept, or the engine did not respond.
pub fn is_needed(run: &Run) -> bool {
    let state = &run.state;
    let still_ran = || state.workers.iter().any(|worker| worker.state == RUNNING);
    !state.final_logs_kept
        && state.cleanups == 0
        && state.worker.is_some()
        && (state.evidence_unavailable || still_ran())
}

/// Stops the workers and keeps their logs again, now complete; `None` if the task is to be deleted.
///
/// # Errors
/// As [`stop_test`].
pub async fn collect_final_logs(run: &mut Run) -> Result<Option<Event>, StepError> {
    let Some(worker) = run.state.worker.clone() else {
        return Ok(None);
    };
    if run.desired().is_deleted() {
        return Ok(None);
    }
    stop_group(run, &worker, run.spec.worker.stop_grace()).await?;
    if run.desired().is_deleted() {
        return Ok(None);
    }
    Ok(Some(collect::keep_all(run, LOG_TIMEOUT).await))
}

/// Stops the containers of `group` and waits until they have ended; kills all containers of the run if grace periods are
/// skipped. A delete interrupts the wait; clean-up then kills the containers.
async fn stop_group(run: &mut Run, group: &str, grace: Duration) -> Result<(), StepError> {
    let mut deadline = Deadline::after(grace + REPORT_DELAY);
    let mut requested = false;
    let started = Instant::now();
    loop {
        if !requested {
            requested = match request_stop(run, group).await {
                Ok(requested) => requested,
                Err(error) => {
                    tracing::warn!(task = %run.spec.name, %error, "containers cannot be stopped before they are removed");
                    return Ok(());
                }
            };
            if requested && run.state.forced && !run.desired().is_deleted() {
                run.shared.engine.kill(run.facts()).await;
                deadline = Deadline::after(REPORT_DELAY);
            }
        }
        let running = still_running(run, group).await;
        if requested && running.as_ref().is_ok_and(|count| *count == 0) {
            tracing::debug!(task = %run.spec.name, took = ?started.elapsed(), "containers ended");
            return Ok(());
        }
        if deadline.passed() {
            tracing::warn!(task = %run.spec.name, ?running, "containers did not end within {} s", deadline.seconds());
            return Ok(());
        }
        if let Err(interrupted) = run.pause_in_grace(POLL_INTERVAL).await {
            return match run.control().is_newly_forced(&run.state) {
                true => Err(interrupted),
                false => Ok(()),
            };
        }
    }
}

/// Whether the engine has accepted the stop; `false` for a temporary error.
async fn request_stop(run: &Run, group: &str) -> Result<bool, EngineError> {
    match run.shared.engine.stop(group).await {
        Ok(()) => Ok(true),
        Err(error) if error.is_temporary() => {
            tracing::debug!(task = %run.spec.name, %error, "cannot stop containers; retrying");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether a container of `group` may still start.
async fn may_start(run: &Run, group: &str) -> bool {
    let members = run.shared.engine.observe(run.facts()).await;
    let may_run = |member: &Member| !member.is_gone();
    members.map_or(true, |members| {
        of_group(&members, Some(group)).iter().any(may_run)
    })
}

/// The number of running containers of `group` on reachable nodes.
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
