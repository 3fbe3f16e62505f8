//! The end of containers that still run when the outcome is fixed: SIGTERM, their grace period unless it is to be
//! skipped, and their last words. Their services stay until that is kept, because Docker forgets exit codes and
//! logs with the service (ARCHITECTURE.md, How Docker Swarm behaves).

use super::{collect, of_service};
use crate::orchestrator::kill;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError};
use crate::swarm::{EngineError, SwarmTask, TaskState};
use crate::task::event::Event;
use std::time::Duration;
use tokio::time::Instant;

/// How long last words are read: what was read before is kept already.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
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

/// Whether a worker was still running when the evidence was kept, or Docker told nothing then.
pub fn is_due(run: &Run) -> bool {
    let running = TaskState::Running.as_str();
    let state = &run.state;
    let still_ran = || state.workers.iter().any(|worker| worker.state == running);
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

/// Tells the containers of `service` to end and waits until they have; when grace periods are skipped, it kills all
/// containers of the run. A delete cuts the wait short: then nobody wants to hear them, and clean-up kills.
async fn end(run: &mut Run, service: &str, grace: Duration) -> Result<(), StepError> {
    let mut deadline = Deadline::after(grace + REPORT);
    let mut told = false;
    let begun = Instant::now();
    loop {
        if !told {
            told = match tell(run, service).await {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!(task = %run.spec.name, %error, "containers cannot be told to end before they are removed");
                    return Ok(());
                }
            };
            if told && run.state.forced && !run.desired().is_deleted() {
                kill::everywhere(run).await;
                deadline = Deadline::after(REPORT);
            }
        }
        let seen = still_running(run, service).await;
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
async fn tell(run: &Run, service: &str) -> Result<bool, EngineError> {
    match run.shared.swarm.end_service(service).await {
        Ok(()) | Err(EngineError::NotFound { .. }) => Ok(true),
        Err(error) if error.is_temporary() => {
            tracing::debug!(task = %run.spec.name, %error, "cannot tell containers to end; trying again");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether a container of `service` may still come to run.
async fn may_start(run: &Run, service: &str) -> bool {
    let tasks = run.shared.swarm.tasks(&run.labels()).await;
    let waits = |task: &SwarmTask| !task.state.is_terminal() && task.desired <= TaskState::Running;
    tasks.map_or(true, |tasks| {
        of_service(&tasks, Some(service)).iter().any(waits)
    })
}

/// How many containers of `service` still run, on nodes that can be heard of.
async fn still_running(run: &Run, service: &str) -> Result<usize, EngineError> {
    let tasks = run.shared.swarm.tasks(&run.labels()).await?;
    let tasks = of_service(&tasks, Some(service));
    let started =
        |task: &&SwarmTask| (TaskState::Starting..=TaskState::Running).contains(&task.state);
    if !tasks.iter().any(|task| started(&task)) {
        return Ok(0);
    }
    let nodes = run.shared.swarm.nodes().await?;
    let is_down = |task: &&SwarmTask| {
        nodes
            .iter()
            .any(|node| Some(&node.id) == task.node_id.as_ref() && !node.ready)
    };
    Ok(tasks
        .iter()
        .filter(|task| started(task) && !is_down(task))
        .count())
}
