//! The containers of a run whose logs are of interest: those of the user's tools, and of the
//! commands that ran beside them.

use crate::evidence::Source;
use crate::plan::{Labels, Role, attempt_of};
use crate::swarm::{EngineError, Service, Swarm, SwarmTask, role_of};
use crate::task::spec::TaskSpec;
use std::collections::{HashMap, HashSet};

/// A container that was started, and whose log Docker still has.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Whose log it is.
    pub source: Source,
    /// Its Swarm task.
    pub task: SwarmTask,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its node is lost: then its log is not to be had, and asking for it may take long.
    pub lost: bool,
}

/// What the objects that carry `labels` have as containers.
///
/// # Errors
/// When Docker does not tell.
pub async fn logged(
    swarm: &dyn Swarm,
    labels: &Labels,
    spec: &TaskSpec,
) -> Result<Vec<Logged>, EngineError> {
    let services: HashMap<String, Service> = swarm
        .services(labels)
        .await?
        .into_iter()
        .map(|service| (service.id.clone(), service))
        .collect();
    let tasks = swarm.tasks(labels).await?;
    let lost = lost_nodes(swarm, &tasks).await?;
    let logged = tasks.into_iter().filter_map(|task| {
        let service = services.get(&task.service_id)?;
        task.container_id.as_ref()?;
        let (source, tty) = source_of(service, task.slot, spec)?;
        let lost = task.node_id.as_ref().is_some_and(|id| lost.contains(id));
        Some(Logged {
            source,
            task,
            tty,
            lost,
        })
    });
    Ok(logged.collect())
}

/// Ids of the nodes that are down; none when there are no `tasks` to be on them.
async fn lost_nodes(
    swarm: &dyn Swarm,
    tasks: &[SwarmTask],
) -> Result<HashSet<String>, EngineError> {
    if tasks.is_empty() {
        return Ok(HashSet::new());
    }
    let nodes = swarm.nodes().await?.into_iter();
    Ok(nodes
        .filter(|node| !node.ready)
        .map(|node| node.id)
        .collect())
}

fn source_of(service: &Service, slot: u32, spec: &TaskSpec) -> Option<(Source, bool)> {
    let role = role_of(&service.labels)?;
    let (replica, tty) = match role {
        Role::Worker => (slot, spec.worker.tty),
        Role::Master => (slot, spec.master.tty),
        Role::Wait => (attempt_of(&service.name)?, false),
        Role::Readiness => (slot, false),
        Role::Discovery
        | Role::Network
        | Role::Delivery
        | Role::Collector
        | Role::Watcher
        | Role::Killer => return None,
    };
    Some((Source { role, replica }, tty))
}
