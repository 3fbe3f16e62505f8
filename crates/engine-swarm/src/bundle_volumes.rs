//! Removal of the volumes of bundles from the nodes. A node that is unavailable keeps its volumes until it returns;
//! the index records that, and the removal is retried.

use crate::core::{Core, ignore_missing};
use crate::error::SwarmError;
use crate::node_job::{self, NodeOutcome};
use crate::plan::volumes::LABEL_BUNDLE;
use crate::plan::{
    CarrierPlan, LABEL_PLACE, LABEL_ROLE, LABEL_RUN, LABEL_TASK, Role, Scale, carrier, socket_mount,
};
use crate::port::Node;
use crate::volume_index::IndexedVolumes;
use atq_engine::Deadline;
use atq_node_protocol::order::{Order, Remove};
use atq_retry::{Pauses, retry};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

/// Timeout of the carriers that remove volumes: they retry for 20 s.
const CARRIERS_TIMEOUT: Duration = Duration::from_secs(60);
/// Retry time for the removal of a used volume on the manager's node: containers outlive their run by seconds.
const RETRY_FOR: Duration = Duration::from_secs(20);
/// Pauses between attempts to remove a volume that is in use.
const RETRY_PAUSES: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_millis(500),
};
/// Task name in the labels of carriers that belong to no task. The Director removes such carriers as orphans at
/// start.
const NO_TASK: &str = "removal";

/// Marks the volumes of a bundle for removal; `false` when the index has no entry.
pub(crate) async fn forget(core: &Core, bundle: &str) -> io::Result<bool> {
    let mark = |entry: &mut IndexedVolumes| entry.removing = !entry.nodes.is_empty();
    core.volume_index.change(bundle, mark).await?;
    Ok(core.volume_index.get(bundle).await?.is_some())
}

/// Removes the volumes of a bundle on all nodes and returns what is left.
pub(crate) async fn clear(core: &Core, bundle: &str) -> io::Result<Vec<String>> {
    let Some(entry) = core.volume_index.get(bundle).await? else {
        // The bundle was never delivered, or the data of the Director that delivered it was lost. Only this node can be
        // checked then. The bundle is removed even if Docker is unavailable.
        let leftovers = remove_here(core, bundle, &IndexedVolumes::default()).await;
        if !leftovers.is_empty() {
            tracing::warn!(bundle, left = %leftovers.join("; "), "cannot list the volumes of the bundle");
        }
        return Ok(Vec::new());
    };
    Ok(remove_volumes(core, bundle, entry).await)
}

/// Bundles whose volumes are marked for removal and remain on some node.
pub(crate) async fn forgotten(core: &Core) -> io::Result<Vec<String>> {
    let mut forgotten = Vec::new();
    for bundle in core.volume_index.bundles().await? {
        if let Ok(Some(entry)) = core.volume_index.get(&bundle).await
            && entry.removing
        {
            forgotten.push(bundle);
        }
    }
    Ok(forgotten)
}

async fn remove_volumes(core: &Core, bundle: &str, entry: IndexedVolumes) -> Vec<String> {
    let listed = async {
        let manager = core.swarm.manager().await?;
        let nodes = core.swarm.nodes().await?;
        Ok::<_, SwarmError>((manager.node_id, nodes))
    };
    let (own, nodes) = match listed.await {
        Ok(listed) => listed,
        Err(error) => return vec![error.to_string()],
    };
    let mut leftovers = Vec::new();
    let mut cleared: BTreeSet<String> = BTreeSet::new();
    let here = remove_here(core, bundle, &entry).await;
    match here.is_empty() {
        true => drop(cleared.insert(own.clone())),
        false => leftovers.extend(here),
    }
    let elsewhere: Vec<_> = entry.nodes.iter().filter(|(id, _)| **id != own).collect();
    let mut reachable = Vec::new();
    for (id, host) in elsewhere {
        match nodes.iter().find(|node| node.id == *id) {
            // The node has left the Swarm.
            None => drop(cleared.insert(id.clone())),
            Some(node) if node.may_run(&[]) => reachable.push(node),
            Some(node) => leftovers.push(format!("node `{host}` {}", describe_unavailable(node))),
        }
    }
    if !reachable.is_empty() {
        let (removed, problems) = remove_elsewhere(core, &entry, &own, &reachable).await;
        cleared.extend(removed);
        leftovers.extend(problems);
    }
    let changed = core.volume_index.change(bundle, |entry| {
        entry.nodes.retain(|id, _| !cleared.contains(id));
    });
    if let Err(error) = changed.await {
        leftovers.push(format!("cannot record what is left: {error}"));
    }
    leftovers
}

fn describe_unavailable(node: &Node) -> &'static str {
    match node.ready {
        true => "is drained or paused, so that its volumes cannot be removed",
        false => "is down",
    }
}

/// Removes the volumes on the manager's node, where no carrier is needed.
async fn remove_here(core: &Core, bundle: &str, entry: &IndexedVolumes) -> Vec<String> {
    let labels = core.labels_with([(LABEL_BUNDLE, bundle)]);
    let mut names = entry.volumes.clone();
    match core.swarm.volumes(&labels).await {
        Ok(found) => names.extend(found),
        Err(error) => return vec![format!("volumes: {error}")],
    }
    let deadline = Deadline::after(RETRY_FOR);
    let mut leftovers = Vec::new();
    for name in names {
        if let Err(error) = remove_one(core, &name, deadline).await {
            leftovers.push(format!("volume `{name}` on the manager's node: {error}"));
        }
    }
    leftovers
}

async fn remove_one(core: &Core, name: &str, deadline: Deadline) -> Result<(), SwarmError> {
    let remove = async || ignore_missing(core.swarm.remove_volume(name).await);
    retry(RETRY_PAUSES, deadline, remove, SwarmError::is_temporary).await
}

/// Runs a carrier on all other nodes. Returns the ids of the nodes in `wanted` on which nothing is left, and the
/// problems of the others.
async fn remove_elsewhere(
    core: &Core,
    entry: &IndexedVolumes,
    own: &str,
    wanted: &[&Node],
) -> (Vec<String>, Vec<String>) {
    let settings = &core.settings;
    let random = uuid::Uuid::new_v4().simple().to_string();
    let run = &random[..6];
    let labels = core.labels_with([
        (LABEL_TASK, NO_TASK),
        (LABEL_RUN, run),
        (LABEL_ROLE, Role::Delivery.as_str()),
        (LABEL_PLACE, &settings.place),
    ]);
    let plan = CarrierPlan {
        role: Role::Delivery,
        number: 1,
        image: &settings.carrier_image,
        order: Order::Remove(Remove {
            volumes: entry.volumes.iter().cloned().collect(),
        }),
        errand: None,
        mounts: vec![socket_mount(&settings.node_docker_socket)],
        scale: Scale::EveryNode,
        constraints: vec![format!("node.id!={own}")],
    };
    let plan = carrier(format!("atq-{NO_TASK}-{run}"), labels, plan, None);
    let deadline = Deadline::after(CARRIERS_TIMEOUT);
    let outcomes = match node_job::run(&*core.swarm, &plan, deadline).await {
        Ok(outcomes) => outcomes,
        Err(error) => return (Vec::new(), vec![error.to_string()]),
    };
    let is_wanted = |one: &&NodeOutcome| wanted.iter().any(|node| node.id == one.node);
    let (removed, leftovers): (Vec<_>, Vec<_>) = outcomes
        .iter()
        .filter(is_wanted)
        .partition(|one| one.problem().is_none());
    (
        removed.into_iter().map(|one| one.node.clone()).collect(),
        leftovers
            .into_iter()
            .filter_map(NodeOutcome::describe_problem)
            .collect(),
    )
}
