//! Removes everything that a run has created, in the order that does not leak addresses: services, then, once their
//! Swarm tasks and containers are gone, the network, then volumes. Docker allows the removal of a network while its
//! containers still stop, but leaves addresses allocated until the manager restarts (moby#37338).

use crate::core::{Core, ignore_missing};
use crate::error::SwarmError;
use crate::plan::{LABEL_RUN, LABEL_TASK, Labels};
use crate::port::{Network, Object, Swarm, SwarmTask};
use crate::run_volumes::{Places, Runs};
use crate::volume_removal;
use atq_engine::{Deadline, Facts};
use atq_retry::{Pauses, retry};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Timeout of the wait for the end of the containers.
const CONTAINERS_TIMEOUT: Duration = Duration::from_secs(90);
/// Retry time for the removal of a network that is "in use" (ARCHITECTURE.md, How Docker Swarm behaves).
const NETWORK_RETRY_FOR: Duration = Duration::from_secs(30);
/// Other nodes remove their part of the network within this time after they report the end of their tasks.
const OTHER_NODES_DELAY: Duration = Duration::from_secs(3);
/// A call in progress when the run ended may still create something within this time.
const LATE_CREATION: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Pauses between attempts to remove a network that is in use.
const RETRY_PAUSES: Pauses = Pauses {
    first: POLL_INTERVAL,
    longest: Duration::from_secs(4),
};

/// Removes everything of a run and returns what is left.
pub(crate) async fn of_run(core: &Arc<Core>, run: Facts<'_>) -> Vec<String> {
    if !run.state.may_have_objects() {
        return Vec::new();
    }
    let runs = Runs::One {
        task: run.spec.name.as_str(),
        run: &run.state.run,
    };
    remove_all(core, runs, &core.labels(run)).await
}

/// Removes everything of a run that is not in the store and returns what is left. The label of the task is required too: a
/// run of another stored task may have the same suffix.
pub(crate) async fn of_orphan(core: &Arc<Core>, task: &str, run: &str) -> Vec<String> {
    let labels = core.labels_with([(LABEL_TASK, task), (LABEL_RUN, run)]);
    remove_all(core, Runs::One { task, run }, &labels).await
}

/// Removes everything of all runs of a task and returns what is left.
pub(crate) async fn of_task(core: &Arc<Core>, task: &str) -> Vec<String> {
    let labels = core.labels_with([(LABEL_TASK, task)]);
    remove_all(core, Runs::OfTask(task), &labels).await
}

/// Removes everything that carries `labels` and returns what is left.
async fn remove_all(core: &Arc<Core>, runs: Runs<'_>, labels: &Labels) -> Vec<String> {
    let started = Instant::now();
    let swarm = &*core.swarm;
    let mut places = Places::find(core, runs, labels).await;
    let mut problems = remove_services(swarm, labels).await;
    let mut unknown = None;
    match wait_for_containers(swarm, labels, |tasks| places.see(tasks)).await {
        // The grace period may be longer than the timeout. The next attempt removes the rest.
        Err(problem) => problems.push(problem),
        Ok(elsewhere) => {
            let networks = remove_networks(swarm, labels, elsewhere);
            let here = remove_volumes(swarm, labels);
            let (networks, volumes, elsewhere) = tokio::join!(networks, here, places.remove(core));
            problems.extend(networks);
            problems.extend(volumes);
            unknown = elsewhere.err();
        }
    }
    tokio::time::sleep(LATE_CREATION.saturating_sub(started.elapsed())).await;
    let mut left = leftovers(swarm, labels, problems).await;
    left.extend(unknown);
    left
}

async fn remove_services(swarm: &dyn Swarm, labels: &Labels) -> Vec<String> {
    let services = match swarm.services(labels).await {
        Ok(services) => services,
        Err(error) => return vec![format!("services: {error}")],
    };
    let removals = services.iter().map(|service| async {
        let removed = ignore_missing(swarm.remove_service(&service.id).await).err();
        removed.map(|error| format!("service `{}`: {error}", service.name))
    });
    join_all(removals).await.into_iter().flatten().collect()
}

/// Waits until Swarm tasks and containers are gone. Tasks on a node that is down end only when it returns, and are
/// not waited for. Returns whether other nodes took part.
async fn wait_for_containers(
    swarm: &dyn Swarm,
    labels: &Labels,
    mut see: impl FnMut(&[SwarmTask]),
) -> Result<bool, String> {
    let deadline = Deadline::after(CONTAINERS_TIMEOUT);
    let mut elsewhere = false;
    loop {
        let remaining = match present(swarm, labels).await {
            Ok(present) => {
                elsewhere |= present.elsewhere;
                see(&present.tasks);
                if present.running + present.containers == 0 {
                    return Ok(elsewhere);
                }
                format!(
                    "{} Swarm task(s) and {} container(s)",
                    present.running, present.containers
                )
            }
            Err(error) => error.to_string(),
        };
        if deadline.passed() {
            let seconds = deadline.seconds();
            return Err(format!("still present after {seconds} s: {remaining}"));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

struct Present {
    tasks: Vec<SwarmTask>,
    /// Number of those on nodes that are not down.
    running: usize,
    containers: usize,
    elsewhere: bool,
}

async fn present(swarm: &dyn Swarm, labels: &Labels) -> Result<Present, SwarmError> {
    let tasks = swarm.tasks(labels).await?;
    let containers = swarm.containers(labels).await?.len();
    let mut elsewhere = false;
    let mut running = 0;
    if !tasks.is_empty() {
        let manager = swarm.manager().await?;
        let nodes = swarm.nodes().await?;
        let is_elsewhere = |id: &String| *id != manager.node_id;
        elsewhere = tasks
            .iter()
            .any(|task| task.node_id.as_ref().is_some_and(is_elsewhere));
        let is_down = |id: &String| nodes.iter().any(|node| node.id == *id && !node.ready);
        let runs = |task: &&SwarmTask| !task.node_id.as_ref().is_some_and(is_down);
        running = tasks.iter().filter(runs).count();
    }
    Ok(Present {
        tasks,
        running,
        containers,
        elsewhere,
    })
}

/// Removes the networks, after a delay if other nodes took part.
async fn remove_networks(swarm: &dyn Swarm, labels: &Labels, elsewhere: bool) -> Vec<String> {
    if elsewhere {
        tokio::time::sleep(OTHER_NODES_DELAY).await;
    }
    let networks = match networks_with(swarm, labels).await {
        Ok(networks) => networks,
        Err(error) => return vec![format!("networks: {error}")],
    };
    let removals = networks.iter().map(|network| async {
        let removed = remove_network(swarm, &network.id).await.err();
        removed.map(|error| format!("network `{}`: {error}", network.name))
    });
    join_all(removals).await.into_iter().flatten().collect()
}

async fn remove_network(swarm: &dyn Swarm, id: &str) -> Result<(), SwarmError> {
    let deadline = Deadline::after(NETWORK_RETRY_FOR);
    let remove = async || ignore_missing(swarm.remove_network(id).await);
    retry(RETRY_PAUSES, deadline, remove, SwarmError::is_temporary).await
}

async fn networks_with(swarm: &dyn Swarm, labels: &Labels) -> Result<Vec<Network>, SwarmError> {
    let mut networks = swarm.networks().await?;
    networks.retain(|network| {
        let mut wanted = labels.iter();
        wanted.all(|(key, value)| network.labels.get(key) == Some(value))
    });
    Ok(networks)
}

async fn remove_volumes(swarm: &dyn Swarm, labels: &Labels) -> Vec<String> {
    let volumes = match swarm.volumes(labels).await {
        Ok(volumes) => volumes,
        Err(error) => return vec![format!("volumes: {error}")],
    };
    volume_removal::here(swarm, volumes).await
}

/// Lists what is left. Earlier problems count only if something is left.
async fn leftovers(swarm: &dyn Swarm, labels: &Labels, problems: Vec<String>) -> Vec<String> {
    let listed = async {
        let services = swarm.services(labels).await?.into_iter();
        let networks = networks_with(swarm, labels).await?.into_iter();
        let containers = swarm.containers(labels).await?.into_iter();
        let volumes = swarm.volumes(labels).await?.into_iter();
        let objects = services
            .map(Object::from)
            .chain(networks.map(Object::from))
            .chain(containers.map(Object::from));
        let objects = objects.map(|one| format!("{} `{}`", one.kind.as_str(), one.name));
        let volumes = volumes.map(|volume| format!("volume `{volume}`"));
        Ok::<Vec<String>, SwarmError>(objects.chain(volumes).collect())
    };
    match listed.await {
        Ok(left) if left.is_empty() => Vec::new(),
        Ok(left) => left.into_iter().chain(problems).collect(),
        Err(error) => {
            let unknown = format!("cannot list what is left: {error}");
            problems.into_iter().chain([unknown]).collect()
        }
    }
}
