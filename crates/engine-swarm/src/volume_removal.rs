//! Removal of volumes: through Docker on the manager's node, by carriers on the others.

use crate::core::{Core, ignore_missing};
use crate::error::SwarmError;
use crate::node_job::{self, NodeOutcome};
use crate::plan::{
    CarrierPlan, LABEL_PLACE, LABEL_ROLE, LABEL_RUN, LABEL_TASK, NO_TASK, Role, Scale, ServicePlan,
    carrier, socket_mount,
};
use crate::port::{Node, Swarm};
use atq_engine::Deadline;
use atq_node_protocol::order::{Order, Remove};
use atq_retry::{Pauses, retry};
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Number of volumes on the manager's node that are removed concurrently.
const CONCURRENCY: usize = 8;
/// Timeout of the carriers that remove volumes: they retry for 20 s.
const CARRIERS_TIMEOUT: Duration = Duration::from_secs(60);
/// Retry time for the removal of a used volume on the manager's node: containers outlive their run by seconds.
const RETRY_FOR: Duration = Duration::from_secs(20);
/// Pauses between attempts to remove a volume that is in use.
const RETRY_PAUSES: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_millis(500),
};

/// Removes these volumes on the manager's node; returns the problems.
pub(crate) async fn here(
    swarm: &dyn Swarm,
    names: impl IntoIterator<Item = String>,
) -> Vec<String> {
    let deadline = Deadline::after(RETRY_FOR);
    let removals = stream::iter(names).map(async |name: String| {
        let remove = async || ignore_missing(swarm.remove_volume(&name).await);
        let removed = retry(RETRY_PAUSES, deadline, remove, SwarmError::is_temporary).await;
        let problem = removed.err()?;
        Some(format!("volume `{name}` on the manager's node: {problem}"))
    });
    let problems: Vec<_> = removals.buffered(CONCURRENCY).collect().await;
    problems.into_iter().flatten().collect()
}

/// The outcome of a removal on nodes other than the manager's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// Ids of the nodes on which nothing is left. Includes those that have left the Swarm.
    pub cleared: BTreeSet<String>,
    /// The problems of the other nodes.
    pub problems: Vec<String>,
    /// The reason why the removal was not attempted on all available nodes.
    pub not_attempted: Option<String>,
}

/// Removes the volumes of an order on the nodes in `recorded`, which are host names by node id, except on `own`. A node
/// that is unavailable keeps its volumes. The carriers have the labels of this task and run; without a task, the Director
/// removes them as orphans at its next start if it cannot remove them now.
pub(crate) async fn elsewhere(
    core: &Core,
    order: Remove,
    owner: Option<(&str, &str)>,
    recorded: &BTreeMap<String, String>,
    own: &str,
    nodes: &[Node],
) -> Elsewhere {
    let mut outcome = Elsewhere::default();
    let mut reachable = BTreeSet::new();
    for (id, host) in recorded.iter().filter(|(id, _)| *id != own) {
        match nodes.iter().find(|node| node.id == *id) {
            // The node has left the Swarm.
            None => drop(outcome.cleared.insert(id.clone())),
            Some(node) if node.may_run(&[]) => drop(reachable.insert(id.as_str())),
            Some(node) => {
                let reason = describe_unavailable(node);
                outcome.problems.push(format!("node `{host}` {reason}"));
            }
        }
    }
    if reachable.is_empty() {
        return outcome;
    }
    // Constraints cannot express "one of these nodes", only "none of those".
    let others = nodes
        .iter()
        .filter(|node| !reachable.contains(node.id.as_str()));
    let constraints = others.map(|node| format!("node.id!={}", node.id)).collect();
    let plan = plan(core, order, owner, constraints);
    let deadline = Deadline::after(CARRIERS_TIMEOUT);
    match node_job::run(&*core.swarm, &plan, deadline).await {
        Ok(outcomes) => {
            // Others have joined meanwhile.
            let of_wanted = |one: &&NodeOutcome| reachable.contains(one.node.as_str());
            for one in outcomes.iter().filter(of_wanted) {
                match one.describe_problem() {
                    None => drop(outcome.cleared.insert(one.node.clone())),
                    Some(problem) => outcome.problems.push(problem),
                }
            }
        }
        Err(error) => outcome.not_attempted = Some(error.to_string()),
    }
    outcome
}

fn describe_unavailable(node: &Node) -> &'static str {
    match node.ready {
        true => "is drained or paused, so that its volumes cannot be removed",
        false => "is down",
    }
}

fn plan(
    core: &Core,
    order: Remove,
    owner: Option<(&str, &str)>,
    constraints: Vec<String>,
) -> ServicePlan {
    let settings = &core.settings;
    let random = uuid::Uuid::new_v4().simple().to_string();
    // Each removal has a name of its own: that of an earlier one stays taken for seconds.
    let suffix = &random[..6];
    let (task, run) = owner.unwrap_or((NO_TASK, suffix));
    let labels = core.labels_with([
        (LABEL_TASK, task),
        (LABEL_RUN, run),
        (LABEL_ROLE, Role::Delivery.as_str()),
        (LABEL_PLACE, &settings.place),
    ]);
    let plan = CarrierPlan {
        role: Role::Delivery,
        number: 1,
        image: &settings.carrier_image,
        order: Order::Remove(order),
        errand: None,
        mounts: vec![socket_mount(&settings.node_docker_socket)],
        scale: Scale::EveryNode,
        constraints,
    };
    carrier(format!("atq-{NO_TASK}-{suffix}"), labels, plan, None)
}
