//! The removal of bundles: from the disk, and from the volumes on the nodes. A node that is away keeps
//! its volumes until it is back; that is noted, and looked after.

use super::Orchestrator;
use super::carrier::{self, Carried};
use super::ledger::Held;
use super::shared::Shared;
use super::wait::Deadline;
use crate::bundle::{BundleError, BundleId};
use crate::plan::volumes::LABEL_BUNDLE;
use crate::plan::{
    CarrierPlan, LABEL_DIRECTOR, LABEL_PLACE, LABEL_ROLE, LABEL_RUN, LABEL_TASK, Labels, Role,
    Scale, carrier as carrier_plan, socket_mount,
};
use crate::store::StoreError;
use crate::swarm::{EngineError, Node};
use atq_node_protocol::order::{Order, Remove};
use std::collections::BTreeSet;
use std::time::Duration;
use thiserror::Error;

/// How long carriers may take to remove volumes: they try for 20 s.
const CARRIERS_PATIENCE: Duration = Duration::from_secs(60);
/// How long a volume may be in use on the manager's node: containers outlive their run by seconds.
const USE_PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);
/// Time between two looks for volumes of nodes that were away.
const SWEEP: Duration = Duration::from_secs(300);
/// What stands for the task in the labels of carriers that belong to none. A start that finds some of
/// them takes them for what they are: left over.
const NO_TASK: &str = "removal";

/// Why a bundle was not removed.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// There is no such bundle.
    #[error("there is no bundle `{id}`\n(GET /databind/list names all)")]
    NotFound {
        /// Its id.
        id: String,
    },
    /// A task still needs it.
    #[error(
        "the bundle `{id}` is in use by the task `{task}`\n(it can be removed once the task is done)"
    )]
    InUse {
        /// The bundle.
        id: String,
        /// A task that is not done.
        task: String,
    },
    /// It is gone from the disk, but not from all nodes.
    #[error(
        "the bundle `{id}` is removed, but not from all nodes: {}\n(it goes on when they are back; DELETE again tries at once)",
        left.join("; ")
    )]
    Remains {
        /// The bundle.
        id: String,
        /// Nodes and volumes, with the reasons.
        left: Vec<String>,
    },
    /// The disk failed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Orchestrator {
    /// Removes a bundle that no task needs any more, also from all nodes. A repetition goes on with what
    /// is left.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn remove_bundle(&self, id: &BundleId) -> Result<(), RemoveError> {
        let _alone = self.shared.ledger.removing.lock().await;
        if let Some(task) = self.user_of(id)? {
            let id = id.to_string();
            return Err(RemoveError::InUse { id, task });
        }
        let failed = BundleError::storage("note that the bundle's volumes are to go");
        let noted = self.shared.ledger.change(id.as_str(), |held| {
            held.removing = !held.nodes.is_empty();
        });
        noted.await.map_err(failed)?;
        let was_there = self.shared.bundles.remove(id).await?;
        let held = self.held(id.as_str()).await?;
        if !was_there && held.is_none() {
            let id = id.to_string();
            return Err(RemoveError::NotFound { id });
        }
        let left = match held {
            Some(held) => remove_volumes(&self.shared, id.as_str(), held).await,
            None => {
                // Never brought anywhere, or by a Director whose data were lost: then this node alone can
                // tell. That Docker is away must not keep a bundle from being removed.
                let left = remove_here(&self.shared, id.as_str(), &Held::default()).await;
                if !left.is_empty() {
                    tracing::warn!(bundle = %id, left = %left.join("; "), "cannot look for volumes of the bundle");
                }
                Vec::new()
            }
        };
        match left.is_empty() {
            true => Ok(()),
            false => Err(RemoveError::Remains {
                id: id.to_string(),
                left,
            }),
        }
    }

    async fn held(&self, bundle: &str) -> Result<Option<Held>, BundleError> {
        let held = self.shared.ledger.get(bundle).await;
        held.map_err(BundleError::storage("read where the bundle's volumes are"))
    }

    /// A task that is not done and uses the bundle.
    ///
    /// # Errors
    /// When the tasks cannot be read.
    pub fn user_of(&self, id: &BundleId) -> Result<Option<String>, StoreError> {
        let uses = |file: &Option<String>| file.as_deref() == Some(id.as_str());
        let mut user = None;
        self.shared.store.each_brief(|task| {
            let names = uses(&task.spec.worker.fileid) || uses(&task.spec.master.fileid);
            if user.is_none() && names && !task.state.is_done() {
                user = Some(task.spec.name.to_string());
            }
        })?;
        Ok(user)
    }

    /// Removes volumes that were left because their nodes were away, again and again. Never returns.
    pub async fn sweep_volumes(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.sweep_volumes_once().await;
        }
    }

    /// One look for volumes that are to go and whose nodes are back.
    pub async fn sweep_volumes_once(&self) {
        let _alone = self.shared.ledger.removing.lock().await;
        let bundles = self.shared.ledger.bundles().await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look for volumes that are to go");
            Vec::new()
        });
        for bundle in bundles {
            // One that was uploaded again is wanted again.
            let is_there = bundle
                .parse()
                .is_ok_and(|id| self.shared.bundles.exists(&id));
            let Ok(Some(held)) = self.shared.ledger.get(&bundle).await else {
                continue;
            };
            if !held.removing || is_there {
                continue;
            }
            let left = remove_volumes(&self.shared, &bundle, held).await;
            match left.is_empty() {
                true => tracing::info!(%bundle, "removed the rest of the bundle's volumes"),
                false => tracing::debug!(%bundle, left = %left.join("; "), "volumes are left"),
            }
        }
    }
}

/// Removes the volumes of a bundle on all nodes, and says what is left.
async fn remove_volumes(shared: &Shared, bundle: &str, held: Held) -> Vec<String> {
    let looked = async {
        let manager = shared.swarm.manager().await?;
        let nodes = shared.swarm.nodes().await?;
        Ok::<_, EngineError>((manager.node_id, nodes))
    };
    let (own, nodes) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return vec![error.to_string()],
    };
    let mut left = Vec::new();
    let mut free: BTreeSet<String> = BTreeSet::new();
    let here = remove_here(shared, bundle, &held).await;
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
        let (gone, problems) = remove_there(shared, &held, &own, &reachable).await;
        free.extend(gone);
        left.extend(problems);
    }
    let noted = shared.ledger.change(bundle, |held| {
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
async fn remove_here(shared: &Shared, bundle: &str, held: &Held) -> Vec<String> {
    let labels: Labels = [
        (LABEL_BUNDLE, bundle),
        (LABEL_DIRECTOR, &shared.settings.director_id),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let mut names = held.volumes.clone();
    match shared.swarm.volumes(&labels).await {
        Ok(found) => names.extend(found),
        Err(error) => return vec![format!("volumes: {error}")],
    }
    let deadline = Deadline::after(USE_PATIENCE);
    let mut left = Vec::new();
    for name in names {
        if let Err(error) = remove_one(shared, &name, deadline).await {
            left.push(format!("volume `{name}` on the manager's node: {error}"));
        }
    }
    left
}

async fn remove_one(shared: &Shared, name: &str, deadline: Deadline) -> Result<(), EngineError> {
    loop {
        match shared.swarm.remove_volume(name).await {
            Ok(()) | Err(EngineError::NotFound { .. }) => return Ok(()),
            Err(error) if error.is_temporary() && !deadline.passed() => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Sends a carrier to all other nodes. Gives the ids of those of `wanted` on which nothing is left, and
/// what is left on others.
async fn remove_there(
    shared: &Shared,
    held: &Held,
    own: &str,
    wanted: &[&Node],
) -> (Vec<String>, Vec<String>) {
    let settings = &shared.settings;
    let random = uuid::Uuid::new_v4().simple().to_string();
    let run = &random[..6];
    let labels: Labels = [
        (LABEL_TASK, NO_TASK),
        (LABEL_RUN, run),
        (LABEL_ROLE, Role::Delivery.as_str()),
        (LABEL_DIRECTOR, &settings.director_id),
        (LABEL_PLACE, &settings.place),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
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
    let plan = carrier_plan(format!("atq-{NO_TASK}-{run}"), labels, plan, "");
    let deadline = Deadline::after(CARRIERS_PATIENCE);
    let carried = match carrier::carry(&*shared.swarm, &plan, deadline).await {
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
