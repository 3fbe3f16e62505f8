//! Maps Swarm tasks to members of a run.

use crate::core::Core;
use crate::error::SwarmError;
use crate::plan::attempt_of;
use crate::port::{Service, SwarmTask, TaskState, role_of};
use crate::refused_setting::RefusedSetting;
use atq_engine::{Facts, Member, Phase, Role, Source};
use atq_task::exit_code;
use std::collections::HashSet;
use std::time::Duration;

/// Delay before a Swarm task without a node counts as unplaceable: Swarm retries within this time.
const UNPLACEABLE: Duration = Duration::from_millis(500);
/// Delay before a node is considered unavailable: after a restart of the manager, all nodes are unknown for some
/// seconds.
const UNAVAILABLE: Duration = Duration::from_secs(15);

/// A snapshot of all members of the run: the user's tools and the commands beside them.
pub(crate) async fn observe(core: &Core, run: Facts<'_>) -> Result<Vec<Member>, SwarmError> {
    let tasks = core.swarm.tasks(&core.labels(run)).await?;
    Ok(of_tools(&tasks, run))
}

/// Members for the Swarm tasks of the user's tools and commands.
pub(crate) fn of_tools(tasks: &[SwarmTask], run: Facts<'_>) -> Vec<Member> {
    let network = run.state.network.as_deref();
    let of = |task: &SwarmTask| {
        let role = role_of(&task.labels)?;
        let tty = has_terminal(role, run)?;
        Some(Member {
            tty,
            ..member(task, Source::new(role, task.slot), network)
        })
    };
    tasks.iter().filter_map(of).collect()
}

/// The members that were started and whose logs Docker still has.
pub(crate) async fn logged(core: &Core, run: Facts<'_>) -> Result<Vec<Member>, SwarmError> {
    let labels = core.labels(run);
    let services = core.swarm.services(&labels).await?;
    let tasks = core.swarm.tasks(&labels).await?;
    let lost = lost_nodes(core, &tasks).await?;
    let network = run.state.network.as_deref();
    let logged = tasks.iter().filter_map(|task| {
        let service = services.iter().find(|one| one.id == task.service_id)?;
        task.container_id.as_ref()?;
        let (source, tty) = source_of(service, task.slot, run)?;
        let lost = task.node_id.as_ref().is_some_and(|id| lost.contains(id));
        Some(Member {
            tty,
            lost,
            ..member(task, source, network)
        })
    });
    Ok(logged.collect())
}

/// Ids of the nodes that are down; empty without `tasks`.
async fn lost_nodes(core: &Core, tasks: &[SwarmTask]) -> Result<HashSet<String>, SwarmError> {
    if tasks.is_empty() {
        return Ok(HashSet::new());
    }
    let nodes = core.swarm.nodes().await?.into_iter();
    Ok(nodes
        .filter(|node| !node.ready)
        .map(|node| node.id)
        .collect())
}

fn source_of(service: &Service, slot: u32, run: Facts<'_>) -> Option<(Source, bool)> {
    let role = role_of(&service.labels)?;
    let tty = has_terminal(role, run)?;
    let replica = match role {
        Role::Wait => attempt_of(&service.name)?,
        _ => slot,
    };
    Some((Source::new(role, replica), tty))
}

/// Whether containers of the role have a terminal; `None` for the engine's own containers.
fn has_terminal(role: Role, run: Facts<'_>) -> Option<bool> {
    match role {
        Role::Worker => Some(run.spec.worker.tty),
        Role::Master => Some(run.spec.master.tty),
        Role::Wait | Role::Readiness => Some(false),
        Role::Discovery
        | Role::Network
        | Role::Delivery
        | Role::Collector
        | Role::Watcher
        | Role::Killer
        | Role::Tail => None,
    }
}

/// Maps a Swarm task to a member of a run; `network` is the id of the run's own.
pub fn member(task: &SwarmTask, source: Source, network: Option<&str>) -> Member {
    Member {
        id: task.id.clone(),
        group: task.service_id.clone(),
        source,
        tty: false,
        node: task.node_id.clone(),
        lost: false,
        phase: phase(task.state),
        state: task.state.as_str(),
        leaving: task.desired > TaskState::Running,
        began: has_run(task),
        failed: matches!(
            task.state,
            TaskState::Failed | TaskState::Rejected | TaskState::Orphaned
        ),
        unplaceable_after: unplaceable_after(task),
        since: task.since,
        error: task.error.clone(),
        reason: reason(task),
        exit_code: task.exit_code,
        container: task.container_id.clone(),
        address: network.and_then(|id| task.address_in(id)),
    }
}

fn phase(state: TaskState) -> Phase {
    match state {
        TaskState::Starting => Phase::Starting,
        TaskState::Running => Phase::Running,
        state if state.is_terminal() => Phase::Ended,
        _ => Phase::Waiting,
    }
}

fn unplaceable_after(task: &SwarmTask) -> Option<Duration> {
    let error = task.error.as_deref();
    let error = error.filter(|_| task.state == TaskState::Pending)?;
    match error.contains("not available for new tasks") {
        true => Some(UNAVAILABLE),
        false => Some(UNPLACEABLE),
    }
}

/// Whether no node accepts the task, `age` after its service was created.
pub(crate) fn is_unplaceable(task: &SwarmTask, age: Duration) -> bool {
    unplaceable_after(task).is_some_and(|longest| age >= longest)
}

/// Whether the task has ended or is meant to: a task on a lost node stays `running` indefinitely.
pub(crate) fn is_gone(task: &SwarmTask) -> bool {
    task.state.is_terminal() || task.desired > TaskState::Running
}

/// The reason why a Swarm task is not running, in Docker's own words if there are any.
pub(crate) fn reason(task: &SwarmTask) -> String {
    let state = task.state.as_str();
    match (&task.error, task.exit_code) {
        // With an init process in the container, Docker reports only the number.
        (Some(error), Some(code @ (126 | 127))) if error.ends_with(&format!("({code})")) => {
            let meaning = exit_code::meaning(code).unwrap_or_default();
            format!("{state}: {error}: {meaning}")
        }
        (Some(error), _) => match RefusedSetting::find(error) {
            Some(refused) => format!("{state}: {refused} ({error})"),
            None => format!("{state}: {error}"),
        },
        (None, Some(code)) => format!("{state}: exit code {code}"),
        (None, None) if task.state == TaskState::Running && is_gone(task) => {
            "its node was lost or drained".to_owned()
        }
        (None, None) => state.to_owned(),
    }
}

/// Whether the process of an ended Swarm task was started at all: Docker distinguishes a failed start from a failed
/// process only by the text (ARCHITECTURE.md, How Docker Swarm behaves).
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

/// The Swarm tasks of `service`, ordered by replica.
pub(crate) fn of_service(tasks: &[SwarmTask], service: Option<&str>) -> Vec<SwarmTask> {
    let mut own: Vec<SwarmTask> = tasks
        .iter()
        .filter(|task| Some(task.service_id.as_str()) == service)
        .cloned()
        .collect();
    own.sort_by_key(|task| task.slot);
    own
}

/// The Swarm tasks of this run, of all services. While Docker is unavailable, returns `None` until the deadline, and
/// an error afterwards.
pub(crate) async fn tasks_of_run(
    core: &Core,
    run: Facts<'_>,
    deadline: atq_engine::Deadline,
) -> Result<Option<Vec<SwarmTask>>, atq_engine::StepError> {
    match core.swarm.tasks(&core.labels(run)).await {
        Ok(tasks) => Ok(Some(tasks)),
        Err(error) if error.is_temporary() && !deadline.passed() => {
            tracing::debug!(task = %run.spec.name, %error, "cannot list Swarm tasks; retrying");
            Ok(None)
        }
        Err(error) => Err(run.engine_failed(&error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: &str) -> String {
        reason(&SwarmTask {
            id: "t1".to_owned(),
            service_id: "s1".to_owned(),
            labels: Default::default(),
            slot: 1,
            node_id: None,
            state: TaskState::Failed,
            desired: TaskState::Running,
            since: None,
            error: Some(error.to_owned()),
            exit_code: Some(128),
            container_id: None,
            addresses: Vec::new(),
            ports: Vec::new(),
        })
    }

    #[test]
    fn a_refused_limit_is_named_before_dockers_own_text() {
        let of_docker = "starting container failed: error setting rlimit type 7: operation not permitted: unknown";
        assert_eq!(
            failed(of_docker),
            format!("failed: the node does not grant `ulimits.nofile` ({of_docker})")
        );
        assert_eq!(
            failed("task: non-zero exit (1)"),
            "failed: task: non-zero exit (1)"
        );
    }
}
