//! The removal of everything that a run has created, in the order that does not leak: services, then
//! a wait until their Swarm tasks and containers are gone, then the network, then volumes. A network
//! that is removed while its containers still stop leaves addresses allocated until the manager
//! restarts (moby#37338), and Docker allows it.

use crate::core::{Core, gone};
use crate::error::SwarmError;
use crate::plan::Labels;
use crate::port::{Network, Swarm};
use atq_engine::{Deadline, Facts};
use atq_patience::{Pauses, retry};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::Instant;

/// How long the containers of a run may take to end.
const CONTAINERS_PATIENCE: Duration = Duration::from_secs(90);
/// How long a network may be "in use" (ARCHITECTURE.md, How Docker Swarm behaves).
const NETWORK_PATIENCE: Duration = Duration::from_secs(30);
/// Other nodes take their part of the network down a little later than they report.
const OTHER_NODES: Duration = Duration::from_secs(3);
/// A call that was under way when the run ended may still create something until then.
const LATE_CREATION: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
/// Between two tries to remove a network that is in use.
const IN_USE: Pauses = Pauses {
    first: PAUSE,
    longest: Duration::from_secs(4),
};

/// Removes everything of a run and says what is left.
pub(crate) async fn of_run(core: &Core, run: Facts<'_>) -> Vec<String> {
    if !run.state.may_have_objects() {
        return Vec::new();
    }
    remove_all(&*core.swarm, &core.labels(run)).await
}

/// Removes everything that carries `labels` and says what is left.
pub(crate) async fn remove_all(swarm: &dyn Swarm, labels: &Labels) -> Vec<String> {
    let begun = Instant::now();
    let mut problems = remove_services(swarm, labels).await;
    match until_containers_are_gone(swarm, labels).await {
        // Their grace period may be longer than the wait. The rest is left to the next try.
        Some(problem) => problems.push(problem),
        None => {
            problems.extend(remove_networks(swarm, labels).await);
            problems.extend(remove_volumes(swarm, labels).await);
        }
    }
    tokio::time::sleep(LATE_CREATION.saturating_sub(begun.elapsed())).await;
    still_there(swarm, labels, problems).await
}

async fn remove_services(swarm: &dyn Swarm, labels: &Labels) -> Vec<String> {
    let services = match swarm.services(labels).await {
        Ok(services) => services,
        Err(error) => return vec![format!("services: {error}")],
    };
    let removals = services.iter().map(|service| async {
        let removed = gone(swarm.remove_service(&service.id).await);
        removed
            .err()
            .map(|error| format!("service `{}`: {error}", service.name))
    });
    join_all(removals).await.into_iter().flatten().collect()
}

/// Waits for Swarm tasks and containers. Tasks on a node that is down end only when it returns, and
/// must not hold up the rest.
async fn until_containers_are_gone(swarm: &dyn Swarm, labels: &Labels) -> Option<String> {
    let deadline = Deadline::after(CONTAINERS_PATIENCE);
    let mut elsewhere = false;
    loop {
        let seen = match present(swarm, labels).await {
            Ok(present) => {
                elsewhere |= present.elsewhere;
                if present.tasks + present.containers == 0 {
                    break;
                }
                format!(
                    "{} Swarm task(s) and {} container(s)",
                    present.tasks, present.containers
                )
            }
            Err(error) => error.to_string(),
        };
        if deadline.passed() {
            return Some(format!(
                "after {} s there were still {seen}",
                deadline.seconds()
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
    if elsewhere {
        tokio::time::sleep(OTHER_NODES).await;
    }
    None
}

struct Present {
    tasks: usize,
    containers: usize,
    elsewhere: bool,
}

async fn present(swarm: &dyn Swarm, labels: &Labels) -> Result<Present, SwarmError> {
    let mut tasks = swarm.tasks(labels).await?;
    let containers = swarm.containers(labels).await?.len();
    let mut elsewhere = false;
    if !tasks.is_empty() {
        let manager = swarm.manager().await?;
        let nodes = swarm.nodes().await?;
        elsewhere = tasks.iter().any(|task| {
            task.node_id
                .as_ref()
                .is_some_and(|id| *id != manager.node_id)
        });
        let is_down = |id: &String| nodes.iter().any(|node| node.id == *id && !node.ready);
        tasks.retain(|task| !task.node_id.as_ref().is_some_and(is_down));
    }
    Ok(Present {
        tasks: tasks.len(),
        containers,
        elsewhere,
    })
}

async fn remove_networks(swarm: &dyn Swarm, labels: &Labels) -> Vec<String> {
    let networks = match networks_with(swarm, labels).await {
        Ok(networks) => networks,
        Err(error) => return vec![format!("networks: {error}")],
    };
    let removals = networks.iter().map(|network| async {
        let removed = remove_network(swarm, &network.id).await;
        removed
            .err()
            .map(|error| format!("network `{}`: {error}", network.name))
    });
    join_all(removals).await.into_iter().flatten().collect()
}

async fn remove_network(swarm: &dyn Swarm, id: &str) -> Result<(), SwarmError> {
    let deadline = Deadline::after(NETWORK_PATIENCE);
    let remove = async || gone(swarm.remove_network(id).await);
    retry(IN_USE, deadline, remove, SwarmError::is_temporary).await
}

async fn networks_with(swarm: &dyn Swarm, labels: &Labels) -> Result<Vec<Network>, SwarmError> {
    let carries = |network: &Network| {
        labels
            .iter()
            .all(|(key, value)| network.labels.get(key) == Some(value))
    };
    Ok(swarm
        .networks()
        .await?
        .into_iter()
        .filter(carries)
        .collect())
}

async fn remove_volumes(swarm: &dyn Swarm, labels: &Labels) -> Vec<String> {
    let volumes = match swarm.volumes(labels).await {
        Ok(volumes) => volumes,
        Err(error) => return vec![format!("volumes: {error}")],
    };
    let removals = volumes.iter().map(|volume| async move {
        gone(swarm.remove_volume(volume).await)
            .err()
            .map(|error| format!("volume `{volume}`: {error}"))
    });
    join_all(removals).await.into_iter().flatten().collect()
}

/// The last look decides: a problem on the way that left nothing is no problem.
async fn still_there(swarm: &dyn Swarm, labels: &Labels, problems: Vec<String>) -> Vec<String> {
    let looked = async {
        let services = swarm
            .services(labels)
            .await?
            .into_iter()
            .map(|service| format!("service `{}`", service.name));
        let networks = networks_with(swarm, labels)
            .await?
            .into_iter()
            .map(|network| format!("network `{}`", network.name));
        let containers = swarm
            .containers(labels)
            .await?
            .into_iter()
            .map(|container| {
                format!(
                    "container `{}`",
                    container.id.chars().take(12).collect::<String>()
                )
            });
        let volumes = swarm
            .volumes(labels)
            .await?
            .into_iter()
            .map(|volume| format!("volume `{volume}`"));
        Ok::<Vec<String>, SwarmError>(
            services
                .chain(networks)
                .chain(containers)
                .chain(volumes)
                .collect(),
        )
    };
    match looked.await {
        Ok(left) if left.is_empty() => Vec::new(),
        Ok(left) => left.into_iter().chain(problems).collect(),
        Err(error) => problems
            .into_iter()
            .chain([format!("what is left cannot be listed: {error}")])
            .collect(),
    }
}
