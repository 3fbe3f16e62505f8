//! Removal of the volumes of bundles from the nodes. A node that is unavailable keeps its volumes until it returns;
//! the index records that, and the removal is retried.

use crate::core::Core;
use crate::error::SwarmError;
use crate::plan::volumes::LABEL_BUNDLE;
use crate::volume_index::IndexedVolumes;
use crate::volume_removal::{self, Elsewhere};
use atq_node_protocol::order::Remove;
use std::io;

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
    for bundle in core.volume_index.keys().await? {
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
    let mut leftovers = remove_here(core, bundle, &entry).await;
    let is_cleared_here = leftovers.is_empty();
    let order = Remove {
        volumes: entry.volumes.iter().cloned().collect(),
        ..Remove::default()
    };
    let removed = volume_removal::elsewhere(core, order, None, &entry.nodes, &own, &nodes).await;
    let Elsewhere {
        mut cleared,
        problems,
        not_attempted,
    } = removed;
    leftovers.extend(problems);
    leftovers.extend(not_attempted);
    if is_cleared_here {
        cleared.insert(own);
    }
    let changed = core.volume_index.change(bundle, |entry| {
        entry.nodes.retain(|id, _| !cleared.contains(id));
    });
    if let Err(error) = changed.await {
        leftovers.push(format!("cannot record what is left: {error}"));
    }
    leftovers
}

/// Removes the volumes on the manager's node, where no carrier is needed.
async fn remove_here(core: &Core, bundle: &str, entry: &IndexedVolumes) -> Vec<String> {
    let labels = core.labels_with([(LABEL_BUNDLE, bundle)]);
    let mut names = entry.volumes.clone();
    match core.swarm.volumes(&labels).await {
        Ok(found) => names.extend(found),
        Err(error) => return vec![format!("volumes: {error}")],
    }
    volume_removal::here(&*core.swarm, names).await
}
