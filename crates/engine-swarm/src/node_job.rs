//! Jobs on nodes: services of carriers, short-lived containers that deliver bundles, fetch results or remove volumes.
//! Each carrier ends with one line of JSON that reports its outcome.
//!
//! This module is independent of the work that the carriers do. A service that exists already, created before a
//! crash, is found by its name and reused; it is created again if its carriers have failed. If a caller stops
//! waiting, clean-up finds the service by its labels.

use crate::core::ignore_missing;
use crate::error::SwarmError;
use crate::image_reason::explain_with;
use crate::members;
use crate::plan::{Scale, ServicePlan};
use crate::port::{Node, Swarm, SwarmTask, TaskState};
use crate::services::{create_or_find, of_run};
use atq_engine::{Deadline, LogQuery, LogStream};
use atq_node_protocol::outcome::CarrierOutcome;
use atq_retry::{Pauses, retry};
use atq_task::exit_code;
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Poll intervals: short at first, since most carriers find nothing to do.
const FIRST_POLL_INTERVAL: Duration = Duration::from_millis(100);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Backoff after temporary errors.
const RETRY_PAUSES: Pauses = Pauses {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(1),
};
/// Timeout of one read of a carrier's log, and the number of reads: nodes report logs and states separately, so that
/// the last line may arrive after the state.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);
const LOG_ATTEMPTS: u32 = 5;
const LOG_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Number of lines that are read from the end of a log.
const LOG_TAIL: u32 = 20;
/// Longest excerpt of a line that is not a valid report, in characters.
const MAX_EXCERPT: usize = 200;

/// Outcome of one carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOutcome {
    /// Id of its node; empty when no node was assigned.
    pub node: String,
    /// Host name of its node; the id of the node when it has no host name.
    pub host: String,
    /// Its report, or the reason why there is none.
    pub report: Result<CarrierOutcome, NoReport>,
}

/// The reason why a carrier has no report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoReport {
    /// Description of the observed state.
    pub reason: String,
    /// Whether its node has become unavailable: it went down, or was drained.
    pub unavailable: bool,
}

impl NodeOutcome {
    /// The problem, if the carrier did not complete its work.
    pub fn problem(&self) -> Option<String> {
        match &self.report {
            Ok(report) if report.done => None,
            Ok(report) => {
                let no_reason = || "it failed without a reason".to_owned();
                Some(report.problem.clone().unwrap_or_else(no_reason))
            }
            Err(missing) => Some(missing.reason.clone()),
        }
    }

    /// Whether its node has become unavailable, so that the work on it is no longer needed.
    pub fn is_unavailable(&self) -> bool {
        matches!(&self.report, Err(missing) if missing.unavailable)
    }

    /// The problem with its node, for example "node `host-1` (abc): no space left".
    pub fn describe_problem(&self) -> Option<String> {
        let problem = self.problem()?;
        Some(match self.node.is_empty() {
            true => format!("no node: {problem}"),
            false => format!("node `{}` ({}): {problem}", self.host, self.node),
        })
    }
}

/// Creates the service `plan`, or finds it, waits until each of its containers has ended, reads their reports, and
/// removes the service. A global service is complete when a container has ended on every node that may run it.
/// Containers that are unfinished at `deadline` are reported as problems.
///
/// # Errors
/// When Docker refuses the service, or is unavailable until the deadline.
pub async fn run(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    deadline: Deadline,
) -> Result<Vec<NodeOutcome>, SwarmError> {
    loop {
        let made = with_retries(deadline, || create_or_find(swarm, plan, &plan.labels)).await?;
        let outcome = |status| collect_outcome(swarm, plan, status);
        let outcomes = match wait_until_ended(swarm, plan, &made.id, deadline).await {
            Ok(ended) => Ok(join_all(ended.into_iter().map(outcome)).await),
            Err(error) => Err(error),
        };
        // Removed even after an error: carriers that remove volumes belong to no run, so no clean-up would remove them.
        remove(swarm, plan, &made.id).await;
        let has_failed = |all: &Vec<NodeOutcome>| all.iter().any(|one| one.problem().is_some());
        match made.existed && outcomes.as_ref().is_ok_and(has_failed) && !deadline.passed() {
            // The old carriers may have failed because the Director was down or its address has changed.
            true => {
                tracing::info!(service = %plan.name, "carriers created before the restart have failed; creating new ones")
            }
            false => return outcomes,
        }
    }
}

/// Tries to remove the service; clean-up retries after a failure.
async fn remove(swarm: &dyn Swarm, plan: &ServicePlan, id: &str) {
    if let Err(error) = ignore_missing(swarm.remove_service(id).await) {
        tracing::debug!(service = %plan.name, %error, "cannot remove a service of carriers; clean-up will remove it");
    }
}

/// Last observed state of one container of the service, or of a node without one.
#[derive(Debug, Clone)]
struct NodeStatus {
    node: String,
    host: String,
    /// Its node no longer accepts containers.
    unavailable: bool,
    task: Option<SwarmTask>,
    /// The reason why the wait for it was abandoned.
    abandoned: Option<String>,
}

impl NodeStatus {
    fn is_final(&self) -> bool {
        let task = self.task.as_ref();
        let ended = task.is_some_and(|task| task.state.is_terminal());
        self.abandoned.is_some() || self.unavailable || ended
    }
}

async fn wait_until_ended(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    id: &str,
    deadline: Deadline,
) -> Result<Vec<NodeStatus>, SwarmError> {
    let started = Instant::now();
    let mut wanted = BTreeSet::new();
    let mut interval = FIRST_POLL_INTERVAL;
    loop {
        let (tasks, nodes) =
            with_retries(deadline, || list_tasks_and_nodes(swarm, plan, id)).await?;
        if plan.scale == Scale::EveryNode {
            let may_run = nodes.iter().filter(|node| node.may_run(&plan.constraints));
            wanted.extend(may_run.map(|node| node.id.clone()));
        }
        let mut statuses = node_statuses(plan, &tasks, &nodes, &wanted, started.elapsed());
        let complete = match plan.scale {
            Scale::Replicas(replicas) => u32::try_from(statuses.len()) == Ok(replicas),
            Scale::EveryNode => true,
        };
        if complete && statuses.iter().all(NodeStatus::is_final) {
            return Ok(statuses);
        }
        if deadline.passed() {
            abandon_unfinished(&mut statuses, deadline);
            return Ok(statuses);
        }
        sleep(interval.min(deadline.left())).await;
        interval = (interval + FIRST_POLL_INTERVAL / 10).min(MAX_POLL_INTERVAL);
    }
}

async fn list_tasks_and_nodes(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    id: &str,
) -> Result<(Vec<SwarmTask>, Vec<Node>), SwarmError> {
    let mut tasks = swarm.tasks(&of_run(&plan.labels)).await?;
    tasks.retain(|task| task.service_id == id);
    Ok((tasks, swarm.nodes().await?))
}

/// One status per node for a global service, one per Swarm task otherwise.
fn node_statuses(
    plan: &ServicePlan,
    tasks: &[SwarmTask],
    nodes: &[Node],
    wanted: &BTreeSet<String>,
    age: Duration,
) -> Vec<NodeStatus> {
    let of_task = |task: &SwarmTask| {
        let unplaced = members::is_unplaceable(task, age).then(|| members::reason(task));
        let node = task.node_id.clone().unwrap_or_default();
        node_status(plan, nodes, node, Some(task.clone()), unplaced)
    };
    let idle = wanted.iter().filter(|id| {
        let is_there = |task: &SwarmTask| task.node_id.as_ref() == Some(id);
        !tasks.iter().any(is_there)
    });
    let idle = idle.map(|id| node_status(plan, nodes, id.clone(), None, None));
    // Tasks of a global service are created with a node, but it may be missing for a moment.
    let placed = |task: &&SwarmTask| plan.scale != Scale::EveryNode || task.node_id.is_some();
    tasks
        .iter()
        .filter(placed)
        .map(of_task)
        .chain(idle)
        .collect()
}

fn node_status(
    plan: &ServicePlan,
    nodes: &[Node],
    node: String,
    task: Option<SwarmTask>,
    abandoned: Option<String>,
) -> NodeStatus {
    let found = nodes.iter().find(|known| known.id == node);
    let host = found.map(|node| node.hostname.clone());
    let ended = task.as_ref().is_some_and(|task| task.state.is_terminal());
    NodeStatus {
        unavailable: match (plan.scale, found) {
            // A task that has ended counts as ended, whatever the state of its node.
            _ if ended || node.is_empty() => false,
            (_, None) => true,
            (Scale::EveryNode, Some(found)) => !found.may_run(&plan.constraints),
            (Scale::Replicas(_), Some(found)) => !found.ready,
        },
        host: host
            .filter(|host| !host.is_empty())
            .unwrap_or_else(|| node.clone()),
        node,
        task,
        abandoned,
    }
}

fn abandon_unfinished(statuses: &mut [NodeStatus], deadline: Deadline) {
    for late in statuses.iter_mut().filter(|status| !status.is_final()) {
        let state = late.task.as_ref().map(members::reason);
        late.abandoned = Some(format!(
            "not done after {} s; state in Docker: `{}`",
            deadline.seconds(),
            state.as_deref().unwrap_or("no Swarm task yet"),
        ));
    }
}

async fn collect_outcome(swarm: &dyn Swarm, plan: &ServicePlan, status: NodeStatus) -> NodeOutcome {
    let report = match (&status.task, &status.abandoned) {
        _ if status.unavailable => Err(NoReport {
            reason: "the node went down or no longer accepts containers".to_owned(),
            unavailable: true,
        }),
        (_, Some(reason)) => Err(no_report(reason.clone())),
        (Some(task), None) => read_report(swarm, plan, task).await,
        (None, None) => Err(no_report("Swarm created no container on it".to_owned())),
    };
    NodeOutcome {
        node: status.node,
        host: status.host,
        report,
    }
}

fn no_report(reason: String) -> NoReport {
    NoReport {
        reason,
        unavailable: false,
    }
}

/// The reason why a carrier has ended, for carriers that run until they are stopped.
pub async fn problem_of(swarm: &dyn Swarm, plan: &ServicePlan, task: &SwarmTask) -> String {
    match read_report(swarm, plan, task).await {
        Ok(report) => report
            .problem
            .unwrap_or_else(|| "the carrier was stopped".to_owned()),
        Err(missing) => missing.reason,
    }
}

/// Reads the report of an ended carrier. A container that was never started has no log.
async fn read_report(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    task: &SwarmTask,
) -> Result<CarrierOutcome, NoReport> {
    let never_started = task.exit_code.is_none() || task.state == TaskState::Rejected;
    if never_started {
        let reason = explain_with(swarm, &plan.image, members::reason(task)).await;
        return Err(no_report(reason));
    }
    let mut problem = None;
    for attempt in 1..=LOG_ATTEMPTS {
        match last_line(swarm, task).await {
            Ok(Some(line)) => match serde_json::from_str::<CarrierOutcome>(&line) {
                Ok(report) => return Ok(report),
                Err(_) => problem = Some(format!("its last line is `{}`", shorten(&line))),
            },
            Ok(None) => problem = problem.or_else(|| Some("it wrote nothing".to_owned())),
            Err(reason) => problem = Some(format!("its log cannot be read: {reason}")),
        }
        if attempt < LOG_ATTEMPTS {
            sleep(LOG_RETRY_PAUSE * attempt).await;
        }
    }
    let code = task.exit_code.unwrap_or_default();
    let meaning = exit_code::in_brackets(code);
    Err(no_report(format!(
        "the carrier ended with exit code {code}{meaning}; {}",
        problem.unwrap_or_default()
    )))
}

fn shorten(line: &str) -> String {
    line.chars().take(MAX_EXCERPT).collect()
}

/// The last non-empty line of standard output.
async fn last_line(swarm: &dyn Swarm, task: &SwarmTask) -> Result<Option<String>, String> {
    let read = async {
        let query = LogQuery::tail(LOG_TAIL);
        let mut lines = swarm.task_logs(&task.id, false, query).await?;
        let mut last = None;
        while let Some(line) = lines.next().await {
            let line = line?;
            if line.stream == LogStream::Stdout && !line.text.trim().is_empty() {
                last = Some(line.text);
            }
        }
        Ok::<_, SwarmError>(last)
    };
    match timeout(LOG_TIMEOUT, read).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOG_TIMEOUT.as_secs())),
    }
}

/// Retries a call of Docker after temporary errors, at most until `deadline`.
async fn with_retries<T, Fut>(deadline: Deadline, call: impl Fn() -> Fut) -> Result<T, SwarmError>
where
    Fut: Future<Output = Result<T, SwarmError>>,
{
    retry(RETRY_PAUSES, deadline, call, SwarmError::is_temporary).await
}

#[cfg(test)]
mod tests;
