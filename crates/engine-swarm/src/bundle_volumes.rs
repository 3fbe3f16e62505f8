//! The volumes of bundles on the nodes, and their removal. A node that is away keeps
//! its volumes until it is back; that is noted, and looked after.

use crate::core::{Core, gone};
use crate::errand::{self, Carried};
use crate::error::SwarmError;
use crate::ledger::Held;
use crate::plan::volumes::LABEL_BUNDLE;
use crate::plan::{
    CarrierPlan, LABEL_PLACE, LABEL_ROLE, LABEL_RUN, LABEL_TASK, Role, Scale, carrier, socket_mount,
};
use crate::port::Node;
use atq_engine::Deadline;
use atq_node_protocol::order::{Order, Remove};
use atq_patience::{Pauses, retry};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

/// How long carriers may take to remove volumes: they try for 20 s.
const CARRIERS_PATIENCE: Duration = Duration::from_secs(60);
/// How long a volume may be in use on the manager's node: containers outlive their run by seconds.
const USE_PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries to remove a volume that is in use.
const IN_USE: Pauses = Pauses {
    first: Duration::from_millis(500),
    longest: Duration::from_millis(500),
};
/// The name of the task in the labels of carriers that belong to no task. A start that finds such carriers removes
/// them as orphans.
const NO_TASK: &str = "removal";

/// Notes that the volumes of a bundle are to go; `false` when nothing was noted of it.
pub(crate) async fn forget(core: &Core, bundle: &str) -> io::Result<bool> {
    let to_go = |held: &mut Held| held.removing = !held.nodes.is_empty();
    core.ledger.change(bundle, to_go).await?;
    Ok(core.ledger.get(bundle).await?.is_some())
}

/// Removes the volumes of a bundle on all nodes, and says what is left.
pub(crate) async fn clear(core: &Core, bundle: &str) -> io::Result<Vec<String>> {
    let Some(held) = core.ledger.get(bundle).await? else {
        // Never brought anywhere, or by a Director whose data were lost: then this node alone can
        // tell. That Docker is away must not keep a bundle from being removed.
        let left = remove_here(core, bundle, &Held::default()).await;
        if !left.is_empty() {
            tracing::warn!(bundle, left = %left.join("; "), "cannot look for volumes of the bundle");
        }
        return Ok(Vec::new());
    };
    Ok(remove_volumes(core, bundle, held).await)
}

/// Bundles whose volumes are to go, and are left on some node.
pub(crate) async fn forgotten(core: &Core) -> io::Result<Vec<String>> {
    let mut forgotten = Vec::new();
    for bundle in core.ledger.bundles().await? {
        if let Ok(Some(held)) = core.ledger.get(&bundle).await
            && held.removing
        {
            forgotten.push(bundle);
        }
    }
    Ok(forgotten)
}

async fn remove_volumes(core: &Core, bundle: &str, held: Held) -> Vec<String> {
    let looked = async {
        let manager = core.swarm.manager().await?;
        let nodes = core.swarm.nodes().await?;
        Ok::<_, SwarmError>((manager.node_id, nodes))
    };
    let (own, nodes) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return vec![error.to_string()],
    };
    let mut left = Vec::new();
    let mut free: BTreeSet<String> = BTreeSet::new();
    let here = remove_here(core, bundle, &held).await;
    match here.is_empty() {
        true => drop(free.insert(own.clone())),
        false => left.extend(here),
    }
    let elsewhere: Vec<_> = held.nodes.iter().filter(|(id, _)| **id != own).collect();
    let mut reachable = Vec::new();
    for (id, host) in elsewhere {
        match nodes.iter().find(|node| node.id == *id) {
            // It has left the Swarm for good.
            None => drop(free.insert(id.clone())),
            Some(node) if node.may_run(&[]) => reachable.push(node),
            Some(node) => left.push(format!("node `{host}` {}", absence(node))),
        }
    }
    if !reachable.is_empty() {
        let (gone, problems) = remove_there(core, &held, &own, &reachable).await;
        free.extend(gone);
        left.extend(problems);
    }
    let noted = core.ledger.change(bundle, |held| {
        held.nodes.retain(|id, _| !free.contains(id));
    });
    if let Err(error) = noted.await {
        left.push(format!("it cannot be noted what is left: {error}"));
    }
    left
}

fn absence(node: &Node) -> &'static str {
    match node.ready {
        true => {
            "takes no containers now (drained or paused), so that its volumes cannot be reached"
        }
        false => "is down",
    }
}

/// On the manager's node there is no need for a carrier.
async fn remove_here(core: &Core, bundle: &str, held: &Held) -> Vec<String> {
    let labels = core.labels_with([(LABEL_BUNDLE, bundle)]);
    let mut names = held.volumes.clone();
    match core.swarm.volumes(&labels).await {
        Ok(found) => names.extend(found),
        Err(error) => return vec![format!("volumes: {error}")],
    }
    let deadline = Deadline::after(USE_PATIENCE);
    let mut left = Vec::new();
    for name in names {
        if let Err(error) = remove_one(core, &name, deadline).await {
            left.push(format!("volume `{name}` on the manager's node: {error}"));
        }
    }
    left
}

async fn remove_one(core: &Core, name: &str, deadline: Deadline) -> Result<(), SwarmError> {
    let remove = async || gone(core.swarm.remove_volume(name).await);
    retry(IN_USE, deadline, remove, SwarmError::is_temporary).await
}

/// Sends a carrier to all other nodes. Gives the ids of those of `wanted` on which nothing is left, and
/// what is left on others.
async fn remove_there(
    core: &Core,
    held: &Held,
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
            volumes: held.volumes.iter().cloned().collect(),
        }),
        mounts: vec![socket_mount(&settings.node_docker_socket)],
        scale: Scale::EveryNode,
        constraints: vec![format!("node.id!={own}")],
    };
    let plan = carrier(format!("atq-{NO_TASK}-{run}"), labels, plan, "");
    let deadline = Deadline::after(CARRIERS_PATIENCE);
    let carried = match errand::carry(&*core.swarm, &plan, deadline).await {
        Ok(carried) => carried,
        Err(error) => return (Vec::new(), vec![error.to_string()]),
    };
    let is_wanted = |one: &&Carried| wanted.iter().any(|node| node.id == one.node);
    let (gone, left): (Vec<_>, Vec<_>) = carried
        .iter()
        .filter(is_wanted)
        .partition(|one| one.problem().is_none());
    (
        gone.into_iter().map(|one| one.node.clone()).collect(),
        left.into_iter().filter_map(Carried::told).collect(),
    )
}
