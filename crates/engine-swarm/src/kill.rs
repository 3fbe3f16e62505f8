//! The end of containers without their grace period. Swarm has no order for that: the grace period belongs to the
//! Swarm task, and an update of its service does not reach a task that runs. So the containers are killed by Docker on
//! their own node: by the Director on the manager's node, by carriers on the others.

use crate::core::Core;
use crate::errand::{self, Carried};
use crate::error::SwarmError;
use crate::plan::{CarrierPlan, Labels, Scale, ServicePlan, socket_mount};
use crate::port::{Container, Manager, Node, Swarm, SwarmTask, role_of};
use atq_engine::{Deadline, Facts, Role};
use atq_node_protocol::order::{Kill, Order};
use atq_task::state::Step;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

/// The roles whose containers may have a long grace period: those of the user's images.
const ROLES: [Role; 4] = [Role::Worker, Role::Readiness, Role::Wait, Role::Master];
/// How long the carriers may take. What they do not reach has its grace period.
const CARRIERS: Duration = Duration::from_secs(20);

/// Kills the run's containers on all nodes. A container that cannot be killed keeps its grace period.
pub(crate) async fn everywhere(core: &Core, run: Facts<'_>) {
    let labels = core.labels(run);
    let here = on_this_node(&*core.swarm, &labels);
    tokio::join!(here, on_other_nodes(core, run));
}

/// Kills the containers on the manager's node that carry `labels`.
pub(crate) async fn on_this_node(swarm: &dyn Swarm, labels: &Labels) {
    let containers = match swarm.containers(labels).await {
        Ok(containers) => containers,
        Err(error) => {
            tracing::warn!(%error, "containers cannot be listed to be killed");
            return;
        }
    };
    let is_tool = |one: &&Container| role_of(&one.labels).is_some_and(|role| ROLES.contains(&role));
    let killed = containers.iter().filter(is_tool).map(|one| async {
        match swarm.kill_container(&one.id).await {
            Ok(()) | Err(SwarmError::NotFound { .. }) => {}
            Err(error) => tracing::warn!(%error, "a container cannot be killed"),
        }
    });
    join_all(killed).await;
}

/// Kills the run's containers on the nodes that the Director cannot reach itself.
async fn on_other_nodes(core: &Core, run: Facts<'_>) {
    let sent = async {
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
                errand::carry(swarm, &plan, Deadline::after(CARRIERS)).await
            }
        }
    };
    match sent.await {
        Ok(carried) => {
            for problem in carried.iter().filter_map(Carried::told) {
                tracing::warn!(task = %run.spec.name, problem, "containers of a node are not killed; their grace period runs");
            }
        }
        Err::<_, SwarmError>(error) => {
            tracing::warn!(task = %run.spec.name, %error, "containers of other nodes are not killed; their grace period runs");
        }
    }
}

/// Where carriers are needed; `None`: nowhere. Constraints cannot express "one of these", only "none of those".
fn constraints(tasks: &[SwarmTask], nodes: &[Node], manager: &Manager) -> Option<Vec<String>> {
    let open = tasks.iter().filter(|task| !task.state.is_terminal());
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
        mounts: vec![socket_mount(&settings.node_docker_socket)],
        scale: Scale::EveryNode,
        constraints,
    };
    core.plan(run).carrier(plan, &run.state.token)
}

/// A name conflicts for seconds after its removal, so that each time has a number of its own.
fn number(step: Step, cleanups: u32) -> u32 {
    match step {
        Step::Collect => 1,
        Step::Report => 2,
        _ => 3 + cleanups,
    }
}
