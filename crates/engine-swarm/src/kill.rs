//! Kills containers without their grace period. Swarm cannot do that: the grace period belongs to the Swarm task, and
//! an update of the service does not reach a running task. Therefore Docker kills the containers on their own node:
//! called by the Director on the manager's node, by carriers on the others.

use crate::core::{Core, ignore_missing};
use crate::error::SwarmError;
use crate::node_job::{self, NodeOutcome};
use crate::plan::{CarrierPlan, Labels, Scale, ServicePlan, socket_mount};
use crate::port::{Container, Manager, Node, Swarm, SwarmTask, role_of};
use atq_engine::{Deadline, Facts, Role};
use atq_node_protocol::order::{Kill, Order};
use atq_task::state::Step;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

/// The roles whose containers may have a long grace period: they run the user's images.
const ROLES: [Role; 4] = [Role::Worker, Role::Readiness, Role::Wait, Role::Master];
/// Timeout of the carriers. Containers that they do not reach keep their grace period.
const CARRIERS_TIMEOUT: Duration = Duration::from_secs(20);

/// Kills the run's containers on all nodes. A container that cannot be killed keeps its grace period.
pub(crate) async fn on_all_nodes(core: &Core, run: Facts<'_>) {
    let labels = core.labels(run);
    let here = on_this_node(&*core.swarm, &labels);
    tokio::join!(here, on_other_nodes(core, run));
}

/// Kills the containers on the manager's node that carry `labels`.
pub(crate) async fn on_this_node(swarm: &dyn Swarm, labels: &Labels) {
    let containers = match swarm.containers(labels).await {
        Ok(containers) => containers,
        Err(error) => {
            tracing::warn!(%error, "cannot list the containers to kill");
            return;
        }
    };
    let is_tool = |one: &&Container| has_tool(&one.labels);
    let killed = containers.iter().filter(is_tool).map(|one| async {
        if let Err(error) = ignore_missing(swarm.kill_container(&one.id).await) {
            tracing::warn!(%error, "cannot kill a container");
        }
    });
    join_all(killed).await;
}

/// Whether a container with these labels runs an image of the user.
fn has_tool(labels: &Labels) -> bool {
    role_of(labels).is_some_and(|role| ROLES.contains(&role))
}

/// Kills the run's containers on nodes other than the manager's.
async fn on_other_nodes(core: &Core, run: Facts<'_>) {
    let killed = async {
        let swarm = &*core.swarm;
        let tasks = swarm.tasks(&core.labels(run)).await?;
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let (manager, nodes) = (swarm.manager().await?, swarm.nodes().await?);
        match constraints(&tasks, &nodes, &manager) {
            None => Ok(Vec::new()),
            Some(constraints) => {
                let plan = plan(core, run, constraints);
                node_job::run(swarm, &plan, Deadline::after(CARRIERS_TIMEOUT)).await
            }
        }
    };
    match killed.await {
        Ok(outcomes) => {
            for problem in outcomes.iter().filter_map(NodeOutcome::describe_problem) {
                tracing::warn!(task = %run.spec.name, problem, "cannot kill the containers of a node; they keep their grace period");
            }
        }
        Err::<_, SwarmError>(error) => {
            tracing::warn!(task = %run.spec.name, %error, "cannot kill the containers of other nodes; they keep their grace period");
        }
    }
}

/// Placement constraints of the carriers; `None` when no node needs one. Constraints cannot express "one of these
/// nodes", only "none of those".
fn constraints(tasks: &[SwarmTask], nodes: &[Node], manager: &Manager) -> Option<Vec<String>> {
    let open = tasks
        .iter()
        .filter(|task| !task.state.is_terminal() && has_tool(&task.labels));
    let busy: BTreeSet<&str> = open.filter_map(|task| task.node_id.as_deref()).collect();
    let needs_one = |node: &Node| {
        node.id != manager.node_id && node.ready && node.active && busy.contains(node.id.as_str())
    };
    nodes.iter().any(needs_one).then(|| {
        let others = nodes.iter().filter(|node| !needs_one(node));
        others.map(|node| format!("node.id!={}", node.id)).collect()
    })
}

fn plan(core: &Core, run: Facts<'_>, constraints: Vec<String>) -> ServicePlan {
    let settings = &core.settings;
    let plan = CarrierPlan {
        role: Role::Killer,
        number: number(run.state.step, run.state.cleanups),
        image: &settings.carrier_image,
        order: Order::Kill(Kill {
            run: run.state.run.clone(),
            roles: ROLES.map(|role| role.as_str().to_owned()).into(),
        }),
        errand: None,
        mounts: vec![socket_mount(&settings.node_docker_socket)],
        scale: Scale::EveryNode,
        constraints,
    };
    core.plan(run).carrier(plan, &core.carrier_secret(run))
}

/// A service name stays taken for seconds after its removal, so that each attempt uses its own number.
fn number(step: Step, cleanups: u32) -> u32 {
    match step {
        Step::Collect => 1,
        Step::Report => 2,
        _ => 3 + cleanups,
    }
}
