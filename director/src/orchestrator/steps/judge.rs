//! What a list of Swarm tasks means. Pure.

use crate::swarm::{SwarmTask, TaskState};
use crate::task::event::FailureCode;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long a Swarm task may find no node before that counts: Swarm looks again within this time.
const UNPLACEABLE: Duration = Duration::from_millis(500);
/// Exit code of a process that got SIGKILL. Docker does not say who sent it.
const KILLED: i64 = 137;
/// How many replicas a message names one by one.
const NAMED: usize = 3;

/// What the workers look like before the master exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workers {
    /// All run, and DNS agrees.
    Ready(Vec<Ipv4Addr>),
    /// Not yet; the words say what was seen.
    Waiting(String),
    /// It cannot become better.
    Failed(FailureCode, String),
}

/// Judges the workers, `age` after their service was created. `dns` are the addresses that the
/// sidecar has told last.
pub fn workers(
    tasks: &[SwarmTask],
    replicas: u32,
    network: &str,
    dns: &[Ipv4Addr],
    age: Duration,
) -> Workers {
    if let Some(failed) = failed(tasks, replicas, age) {
        return failed;
    }
    let mut alive: Vec<Ipv4Addr> = tasks
        .iter()
        .filter(|task| task.is_alive())
        .filter_map(|task| task.address_in(network))
        .collect();
    alive.sort_unstable();
    alive.dedup();
    let complete = u32::try_from(alive.len()) == Ok(replicas);
    match complete && alive == dns {
        true => Workers::Ready(alive),
        false => Workers::Waiting(seen(tasks, replicas, &alive, dns)),
    }
}

/// Milliseconds from the start of the first of `tasks` to that of the last; `None` when one does not
/// run.
pub fn start_skew(tasks: &[SwarmTask]) -> Option<u64> {
    if !tasks.iter().all(SwarmTask::is_alive) {
        return None;
    }
    let starts: Option<Vec<_>> = tasks.iter().map(|task| task.since).collect();
    let starts = starts?;
    let skew = starts.iter().max()?.since(*starts.iter().min()?);
    u64::try_from(skew.as_millis()).ok()
}

/// A worker that cannot become ready any more, whichever it is. Before the master exists also one
/// that exited 0 is lost.
fn failed(tasks: &[SwarmTask], replicas: u32, age: Duration) -> Option<Workers> {
    let unplaceable = |task: &&SwarmTask| {
        task.state == TaskState::Pending && task.error.is_some() && age >= UNPLACEABLE
    };
    if tasks.iter().any(is_gone) {
        Some(Workers::Failed(
            FailureCode::WorkerFailed,
            named(tasks, replicas, is_gone),
        ))
    } else if tasks.iter().any(|task| unplaceable(&task)) {
        Some(Workers::Failed(
            FailureCode::WorkerUnplaceable,
            named(tasks, replicas, |task| unplaceable(&task)),
        ))
    } else {
        None
    }
}

/// Ended, or meant to: a task whose node is lost stays `running` for ever.
pub fn is_gone(task: &SwarmTask) -> bool {
    task.state.is_terminal() || task.desired > TaskState::Running
}

/// "2 of 3 workers run; replica 3: rejected: No such image `x:1`".
fn named(tasks: &[SwarmTask], replicas: u32, wanted: impl Fn(&SwarmTask) -> bool) -> String {
    let bad: Vec<&SwarmTask> = tasks.iter().filter(|task| wanted(task)).collect();
    let mut parts = vec![format!("{} of {replicas} workers run", count_alive(tasks))];
    parts.extend(
        bad.iter()
            .take(NAMED)
            .map(|task| format!("replica {}: {}", task.slot, reason(task))),
    );
    if bad.len() > NAMED {
        parts.push(format!("and {} more", bad.len() - NAMED));
    }
    parts.join("; ")
}

/// What may be done about workers or masters that failed with `code` at their start.
pub fn hint(code: FailureCode) -> &'static str {
    match code {
        FailureCode::WorkerUnplaceable | FailureCode::MasterUnplaceable => {
            "`placement` and `resources` say what a node must have; `docker node ls` and \
             `docker node inspect` show what the nodes have"
        }
        FailureCode::WorkerFailed => {
            "a worker must not end before the test begins; GET /task/{id}/logs?service=worker shows what it wrote"
        }
        _ => "",
    }
}

/// Why a Swarm task is not running, in Docker's own words where there are any.
pub fn reason(task: &SwarmTask) -> String {
    let state = task.state.as_str();
    match (&task.error, task.exit_code) {
        (Some(error), Some(KILLED)) => {
            format!("{state}: {error}, killed: usually out of memory")
        }
        (Some(error), _) => format!("{state}: {error}"),
        (None, Some(code)) => format!("{state}: exit code {code}"),
        (None, None) if task.state == TaskState::Running => {
            "its node was lost or drained".to_owned()
        }
        (None, None) => state.to_owned(),
    }
}

fn seen(tasks: &[SwarmTask], replicas: u32, alive: &[Ipv4Addr], dns: &[Ipv4Addr]) -> String {
    let head = format!(
        "{} of {replicas} workers run, {} of {replicas} addresses resolve",
        count_alive(tasks),
        dns.len()
    );
    let late: Vec<&SwarmTask> = tasks.iter().filter(|task| !task.is_alive()).collect();
    let mut parts = vec![head];
    parts.extend(
        late.iter()
            .take(NAMED)
            .map(|task| format!("replica {}: {}", task.slot, reason(task))),
    );
    if late.len() > NAMED {
        parts.push(format!("and {} more", late.len() - NAMED));
    }
    parts.extend(only_in(alive, dns, "not in DNS"));
    parts.extend(only_in(dns, alive, "in DNS only"));
    parts.join("; ")
}

/// "not in DNS: 10.224.0.4"; nothing when there are none.
fn only_in(here: &[Ipv4Addr], there: &[Ipv4Addr], words: &str) -> Option<String> {
    let only: Vec<String> = here
        .iter()
        .filter(|address| !there.contains(address))
        .map(ToString::to_string)
        .collect();
    let shown = only
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match only.len() {
        0 => None,
        count if count > NAMED => Some(format!("{words}: {shown} and {} more", count - NAMED)),
        _ => Some(format!("{words}: {shown}")),
    }
}

fn count_alive(tasks: &[SwarmTask]) -> usize {
    tasks.iter().filter(|task| task.is_alive()).count()
}

/// What the master looks like while it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// All replicas run, or have run.
    Started,
    /// Not yet; the words say what was seen.
    Waiting(String),
    /// It cannot be started.
    Failed(FailureCode, String),
}

/// Judges the start of the master, `age` after its service was created.
pub fn start(tasks: &[SwarmTask], replicas: u32, age: Duration) -> Start {
    let stillborn = |task: &&SwarmTask| is_gone(task) && !has_run(task);
    if let Some(task) = tasks.iter().find(stillborn) {
        return Start::Failed(
            FailureCode::MasterFailed,
            format!("the master did not start: {}", reason(task)),
        );
    }
    let unplaceable = |task: &&SwarmTask| {
        task.state == TaskState::Pending && task.error.is_some() && age >= UNPLACEABLE
    };
    if let Some(task) = tasks.iter().find(unplaceable) {
        return Start::Failed(
            FailureCode::MasterUnplaceable,
            format!("the master finds no node: {}", reason(task)),
        );
    }
    let started = tasks
        .iter()
        .filter(|task| task.is_alive() || has_run(task))
        .count();
    match u32::try_from(started) == Ok(replicas) {
        true => Start::Started,
        false => {
            let mut parts = vec![format!("{started} of {replicas} run")];
            parts.extend(tasks.iter().take(NAMED).map(reason));
            Start::Waiting(parts.join("; "))
        }
    }
}

/// Whether the process of an ended Swarm task was started at all: Docker tells a failed start and a
/// failed process apart in its text only (ARCHITECTURE.md, How Docker Swarm behaves).
fn has_run(task: &SwarmTask) -> bool {
    let by_itself = task
        .error
        .as_deref()
        .is_none_or(|error| error.starts_with("task: non-zero exit"));
    match task.state {
        TaskState::Complete | TaskState::Shutdown => true,
        TaskState::Failed => by_itself,
        _ => false,
    }
}

/// Worst exit code of the master's replicas once all have ended; `None` while one has not.
pub fn end(tasks: &[SwarmTask], replicas: u32) -> Option<Option<i64>> {
    let all = u32::try_from(tasks.len()) == Ok(replicas)
        && tasks.iter().all(|task| task.state.is_terminal());
    if !all {
        return None;
    }
    let unknown = tasks.iter().any(|task| task.exit_code.is_none());
    let worst = tasks
        .iter()
        .filter_map(|task| task.exit_code)
        .max_by_key(|code| code.unsigned_abs());
    match worst {
        Some(0) if unknown => Some(None),
        worst => Some(worst),
    }
}

/// Why a worker counts as lost while the test runs. Workers of many tools exit 0 before their
/// master, so that is no loss.
pub fn loss(task: &SwarmTask) -> Option<String> {
    let node_lost = !task.state.is_terminal() && task.desired > TaskState::Running;
    let failed = matches!(
        task.state,
        TaskState::Failed | TaskState::Rejected | TaskState::Orphaned
    );
    (node_lost || failed).then(|| reason(task))
}

#[cfg(test)]
mod tests;
