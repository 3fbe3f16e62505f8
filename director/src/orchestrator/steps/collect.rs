//! Evidence: the logs of all containers and the last words of Docker about them, before anything is
//! removed. What cannot be kept is named; it never holds up the end.

use super::of_service;
use crate::evidence::Source;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::Deadline;
use crate::swarm::{LogQuery, SwarmTask};
use crate::task::event::Event;
use crate::task::plan::Role;
use futures_util::{StreamExt, stream};
use std::time::Duration;

/// Bound of the whole step.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before Docker is asked again for what there is.
const PAUSE: Duration = Duration::from_millis(500);
/// How many logs are read at once.
const AT_ONCE: usize = 8;

struct Wanted {
    source: Source,
    task: SwarmTask,
    tty: bool,
}

/// Keeps the logs and says what was kept.
pub async fn collect(run: &mut Run) -> Event {
    let deadline = Deadline::after(PATIENCE);
    let tasks = match tasks(run, deadline).await {
        Ok(tasks) => tasks,
        Err(missing) => {
            let workers = run.last_seen_workers();
            return Event::EvidenceKept {
                logs: 0,
                missing: vec![missing],
                workers,
            };
        }
    };
    run.saw_workers(&of_service(&tasks, run.state.worker.as_deref()));
    let wanted = wanted(run, &tasks);
    let sources: Vec<Source> = wanted.iter().map(|wanted| wanted.source).collect();
    let mut results = stream::iter(wanted)
        .map(|wanted| keep(run, wanted))
        .buffer_unordered(AT_ONCE);
    let mut open = sources;
    let mut missing = Vec::new();
    let mut logs = 0;
    while !open.is_empty() {
        match tokio::time::timeout(deadline.left(), results.next()).await {
            Ok(Some((source, result))) => {
                open.retain(|waiting| *waiting != source);
                logs += u32::from(result.is_ok());
                missing.extend(result.err());
            }
            Ok(None) => break,
            Err(_) => {
                let late = |source| {
                    format!(
                        "the log of {source} could not be read within {} s",
                        deadline.seconds()
                    )
                };
                missing.extend(open.drain(..).map(late));
            }
        }
    }
    drop(results);
    Event::EvidenceKept {
        logs,
        missing,
        workers: run.last_seen_workers(),
    }
}

/// A run that never got as far as a service has nothing to keep.
async fn tasks(run: &Run, deadline: Deadline) -> Result<Vec<SwarmTask>, String> {
    if run.state.worker.is_none() && run.state.subnet.is_none() {
        return Ok(Vec::new());
    }
    loop {
        match run.shared.swarm.tasks(&run.labels()).await {
            Ok(tasks) => return Ok(tasks),
            Err(error) if error.is_temporary() && !deadline.passed() => {
                tokio::time::sleep(PAUSE).await
            }
            Err(error) => return Err(format!("no log could be read: {error}")),
        }
    }
}

/// Containers that were started. The tries of the wait command keep their logs themselves, but for
/// one that was interrupted.
fn wanted(run: &Run, tasks: &[SwarmTask]) -> Vec<Wanted> {
    let role_of = |task: &SwarmTask| {
        let id = Some(task.service_id.as_str());
        match () {
            () if id == run.state.worker.as_deref() => Some((Role::Worker, run.spec.worker.tty)),
            () if id == run.state.master.as_deref() => Some((Role::Master, run.spec.master.tty)),
            () if id == run.state.discovery.as_deref() => None,
            () if run.state.worker.is_some()
                && run.state.master.is_none()
                && run.spec.wait.is_some() =>
            {
                Some((Role::Wait, false))
            }
            () => None,
        }
    };
    tasks
        .iter()
        .filter(|task| task.container_id.is_some())
        .filter_map(|task| {
            let (role, tty) = role_of(task)?;
            let replica = if role == Role::Wait {
                run.state.wait_attempts + 1
            } else {
                task.slot
            };
            Some(Wanted {
                source: Source { role, replica },
                task: task.clone(),
                tty,
            })
        })
        .collect()
}

async fn keep(run: &Run, wanted: Wanted) -> (Source, Result<(), String>) {
    let source = wanted.source;
    let lines = match run
        .shared
        .swarm
        .task_logs(&wanted.task.id, wanted.tty, LogQuery::default())
        .await
    {
        Ok(lines) => lines,
        Err(error) => {
            return (
                source,
                Err(format!("the log of {source} could not be read: {error}")),
            );
        }
    };
    (
        source,
        run.shared
            .evidence
            .keep_log(&run.spec.name, &run.state.run, source, lines)
            .await,
    )
}
