//! Services of carriers: short-lived containers on the nodes that bring bundles, fetch results or
//! remove volumes, each of which ends with one line of JSON that says how it went.
//!
//! Nothing here knows what is carried. A service that is there already, made before a crash, is found by
//! its name and followed on, and made anew if its carriers have failed; whoever does not wait to the end
//! leaves it to clean-up, by its labels.

use crate::error::SwarmError;
use crate::image_reason::explain_with;
use crate::members;
use crate::plan::{Scale, ServicePlan};
use crate::port::{Node, Swarm, SwarmTask, TaskState};
use crate::services::{create_or_find, of_run};
use atq_engine::Deadline;
use atq_engine::{LogQuery, LogStream};
use atq_node_protocol::outcome::CarrierOutcome;
use atq_patience::{Pauses, retry};
use atq_task::exit_code;
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Pauses between two looks: short at first, since most carriers find that there is nothing to do.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Backoff after temporary errors.
const TROUBLE: Pauses = Pauses {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(1),
};
/// How long the log of one carrier is read, and how often it is looked at for a line that is not there
/// yet: nodes send logs and states on different ways.
const LOG_PATIENCE: Duration = Duration::from_secs(10);
const LOG_TRIES: u32 = 5;
const LOG_PAUSE: Duration = Duration::from_millis(200);
/// Lines of a log that are looked at.
const LOG_TAIL: u32 = 20;
/// Characters of a line that is not understood.
const SHOWN: usize = 200;

/// What became of one carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Id of its node; empty when it got none.
    pub node: String,
    /// Host name of its node, or its id when that has none.
    pub host: String,
    /// Its last words, or why there are none.
    pub words: Result<CarrierOutcome, Silence>,
}

/// Why a carrier said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// What was seen, for people.
    pub reason: String,
    /// Whether its node takes no containers any more: it went down, or was drained.
    pub away: bool,
}

impl Carried {
    /// What went wrong, if it did not do its work.
    pub fn problem(&self) -> Option<String> {
        match &self.words {
            Ok(words) if words.done => None,
            Ok(words) => Some(
                words
                    .problem
                    .clone()
                    .unwrap_or_else(|| "it gave up and did not say why".to_owned()),
            ),
            Err(silence) => Some(silence.reason.clone()),
        }
    }

    /// Whether its node has gone away, and with it the need for what was carried.
    pub fn is_away(&self) -> bool {
        matches!(&self.words, Err(silence) if silence.away)
    }

    /// `host-1 (abc): no space left`.
    pub fn told(&self) -> Option<String> {
        let problem = self.problem()?;
        Some(match self.node.is_empty() {
            true => format!("no node: {problem}"),
            false => format!("node `{}` ({}): {problem}", self.host, self.node),
        })
    }
}

/// Creates the service `plan`, or finds it, waits until each of its containers has ended, reads what they
/// say, and removes it. For a global service one is waited for on every node that may run it. Those that
/// are late at `deadline` are named.
///
/// # Errors
/// When Docker refuses the service, or was away until the deadline.
pub async fn carry(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    deadline: Deadline,
) -> Result<Vec<Carried>, SwarmError> {
    loop {
        let made = patiently(deadline, || create_or_find(swarm, plan, &plan.labels)).await?;
        let ended = until_ended(swarm, plan, &made.id, deadline).await;
        let carried = match ended {
            Ok(ended) => Ok(join_all(ended.into_iter().map(|seen| hear(swarm, plan, seen))).await),
            Err(error) => Err(error),
        };
        // Also then: those of a removal belong to no run that would be cleaned up.
        remove(swarm, plan, &made.id).await;
        let has_failed = |all: &Vec<Carried>| all.iter().any(|one| one.problem().is_some());
        match made.earlier && carried.as_ref().is_ok_and(has_failed) && !deadline.passed() {
            // Those may have called while the Director was away, or where it was before.
            true => {
                tracing::info!(service = %plan.name, "carriers of before the restart have failed; new ones are sent")
            }
            false => return carried,
        }
    }
}

/// Removes the service, as far as that can be done now; clean-up does the rest.
async fn remove(swarm: &dyn Swarm, plan: &ServicePlan, id: &str) {
    match swarm.remove_service(id).await {
        Ok(()) | Err(SwarmError::NotFound { .. }) => {}
        Err(error) => {
            tracing::debug!(service = %plan.name, %error, "a service of carriers is left to clean-up");
        }
    }
}

/// One container of the service, or the lack of one, as it was seen last.
#[derive(Debug, Clone)]
struct Seen {
    node: String,
    host: String,
    /// Its node takes no containers any more.
    away: bool,
    task: Option<SwarmTask>,
    /// Why it is not waited for though it has not ended.
    given_up: Option<String>,
}

impl Seen {
    fn is_over(&self) -> bool {
        self.given_up.is_some()
            || self.away
            || self
                .task
                .as_ref()
                .is_some_and(|task| task.state.is_terminal())
    }
}

async fn until_ended(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    id: &str,
    deadline: Deadline,
) -> Result<Vec<Seen>, SwarmError> {
    let begun = Instant::now();
    let mut wanted = BTreeSet::new();
    let mut pause = PAUSE;
    loop {
        let (tasks, nodes) = patiently(deadline, || look(swarm, plan, id)).await?;
        if plan.scale == Scale::EveryNode {
            let may_run = nodes.iter().filter(|node| node.may_run(&plan.constraints));
            wanted.extend(may_run.map(|node| node.id.clone()));
        }
        let mut seen = sort(plan, &tasks, &nodes, &wanted, begun.elapsed());
        let complete = match plan.scale {
            Scale::Replicas(replicas) => u32::try_from(seen.len()) == Ok(replicas),
            Scale::EveryNode => true,
        };
        if complete && seen.iter().all(Seen::is_over) {
            return Ok(seen);
        }
        if deadline.passed() {
            give_up(&mut seen, deadline);
            return Ok(seen);
        }
        sleep(pause.min(deadline.left())).await;
        pause = (pause + PAUSE / 10).min(LONGEST_PAUSE);
    }
}

async fn look(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    id: &str,
) -> Result<(Vec<SwarmTask>, Vec<Node>), SwarmError> {
    let mut tasks = swarm.tasks(&of_run(&plan.labels)).await?;
    tasks.retain(|task| task.service_id == id);
    Ok((tasks, swarm.nodes().await?))
}

/// By node for a global service, else by Swarm task.
fn sort(
    plan: &ServicePlan,
    tasks: &[SwarmTask],
    nodes: &[Node],
    wanted: &BTreeSet<String>,
    age: Duration,
) -> Vec<Seen> {
    let of_task = |task: &SwarmTask| {
        let unplaced = members::is_unplaceable(task, age).then(|| members::reason(task));
        let node = task.node_id.clone().unwrap_or_default();
        see(plan, nodes, node, Some(task.clone()), unplaced)
    };
    let idle = wanted.iter().filter(|id| {
        let is_there = |task: &SwarmTask| task.node_id.as_ref() == Some(id);
        !tasks.iter().any(is_there)
    });
    let idle = idle.map(|id| see(plan, nodes, id.clone(), None, None));
    // Tasks of a global service have their node from the beginning, but for a moment.
    let placed = |task: &&SwarmTask| plan.scale != Scale::EveryNode || task.node_id.is_some();
    tasks
        .iter()
        .filter(placed)
        .map(of_task)
        .chain(idle)
        .collect()
}

fn see(
    plan: &ServicePlan,
    nodes: &[Node],
    node: String,
    task: Option<SwarmTask>,
    given_up: Option<String>,
) -> Seen {
    let found = nodes.iter().find(|known| known.id == node);
    let host = found.map(|node| node.hostname.clone());
    let ended = task.as_ref().is_some_and(|task| task.state.is_terminal());
    Seen {
        away: match (plan.scale, found) {
            // What has ended by itself has done so whatever its node is now.
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
        given_up,
    }
}

fn give_up(seen: &mut [Seen], deadline: Deadline) {
    for late in seen.iter_mut().filter(|seen| !seen.is_over()) {
        let state = late.task.as_ref().map(members::reason);
        late.given_up = Some(format!(
            "not done after {} s; Docker says `{}`",
            deadline.seconds(),
            state.as_deref().unwrap_or("no Swarm task yet"),
        ));
    }
}

async fn hear(swarm: &dyn Swarm, plan: &ServicePlan, seen: Seen) -> Carried {
    let words = match (&seen.task, &seen.given_up) {
        _ if seen.away => Err(Silence {
            reason: "the node went down or takes no containers any more".to_owned(),
            away: true,
        }),
        (_, Some(reason)) => Err(silence(reason.clone())),
        (Some(task), None) => last_words(swarm, plan, task).await,
        (None, None) => Err(silence("Swarm gave it no container".to_owned())),
    };
    Carried {
        node: seen.node,
        host: seen.host,
        words,
    }
}

fn silence(reason: String) -> Silence {
    Silence {
        reason,
        away: false,
    }
}

/// One whose container was never started has no log.
async fn last_words(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    task: &SwarmTask,
) -> Result<CarrierOutcome, Silence> {
    let never_started = task.exit_code.is_none() || task.state == TaskState::Rejected;
    if never_started {
        let reason = explain_with(swarm, &plan.image, members::reason(task)).await;
        return Err(silence(reason));
    }
    let mut seen = None;
    for attempt in 1..=LOG_TRIES {
        match last_line(swarm, task).await {
            Ok(Some(line)) => match serde_json::from_str::<CarrierOutcome>(&line) {
                Ok(words) => return Ok(words),
                Err(_) => seen = Some(format!("its last line is `{}`", shorten(&line))),
            },
            Ok(None) => seen = seen.or_else(|| Some("it wrote nothing".to_owned())),
            Err(reason) => seen = Some(format!("its log cannot be read: {reason}")),
        }
        if attempt < LOG_TRIES {
            sleep(LOG_PAUSE * attempt).await;
        }
    }
    let code = task.exit_code.unwrap_or_default();
    let meaning = exit_code::meaning(code).map_or(String::new(), |meaning| format!(" ({meaning})"));
    Err(silence(format!(
        "the carrier ended with exit code {code}{meaning}; {}",
        seen.unwrap_or_default()
    )))
}

fn shorten(line: &str) -> String {
    line.chars().take(SHOWN).collect()
}

/// The last line of standard output that is not empty.
async fn last_line(swarm: &dyn Swarm, task: &SwarmTask) -> Result<Option<String>, String> {
    let query = LogQuery {
        tail: Some(LOG_TAIL),
        ..LogQuery::default()
    };
    let read = async {
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
    match timeout(LOG_PATIENCE, read).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOG_PATIENCE.as_secs())),
    }
}

/// Calls Docker until it answers or refuses for good, at most until `deadline`.
async fn patiently<T, Fut>(deadline: Deadline, call: impl Fn() -> Fut) -> Result<T, SwarmError>
where
    Fut: Future<Output = Result<T, SwarmError>>,
{
    retry(TROUBLE, deadline, call, SwarmError::is_temporary).await
}

#[cfg(test)]
mod tests;
