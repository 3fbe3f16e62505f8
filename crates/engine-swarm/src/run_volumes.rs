//! The result volumes of runs: one for each worker and master, on the node of its container. Docker does not remove them
//! with their containers.
//!
//! The volumes on the manager's node are found by their labels. Of the other nodes, the index lists those that may have some,
//! before the first container can be placed. Clean-up restricts them to the nodes of the run's Swarm tasks when Docker still
//! lists all of these. Nodes that are unavailable then, or on which the removal fails, stay in the index, and the removal is
//! retried until nothing is left.

use crate::core::Core;
use crate::error::SwarmError;
use crate::plan::{LABEL_RUN, LABEL_TASK, Labels, Scale, ServicePlan};
use crate::port::{Node, Service, SwarmTask, role_of};
use crate::volume_index::{IndexedVolumes, VolumeIndex, run_key};
use crate::volume_removal::{self, Elsewhere};
use atq_engine::{Deadline, RunContext, StepError};
use atq_node_protocol::order::Remove;
use atq_task::event::FailureCode;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// Interval of the retries.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Number of runs whose volumes one carrier removes.
const RUNS_PER_CARRIER: usize = 50;

/// Label of carriers that remove the volumes of all runs of a task. No run has this suffix.
const ALL_RUNS: &str = "all";

/// The index of the result volumes on other nodes, and the retries of their removal.
pub(crate) struct RunVolumes {
    index: VolumeIndex,
    sweep: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl RunVolumes {
    /// An index below `datadir`. Does not access the disk.
    pub fn new(datadir: &Path) -> Self {
        Self {
            index: VolumeIndex::of_runs(datadir),
            sweep: Mutex::default(),
        }
    }

    /// The entries with these keys.
    async fn entries(&self, keys: &[String]) -> io::Result<BTreeMap<String, IndexedVolumes>> {
        let mut entries = BTreeMap::new();
        for key in keys {
            let entry = self.index.get(key).await?;
            entries.extend(entry.map(|entry| (key.clone(), entry)));
        }
        Ok(entries)
    }
}

/// Adds the nodes on which containers of a service may be placed to the index, unless they have no results.
pub(crate) async fn note_nodes(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
    plan: &ServicePlan,
) -> Result<(), StepError> {
    if !plan.role.keeps_results() {
        return Ok(());
    }
    let nodes = run.retry(deadline, || core.swarm.nodes()).await?;
    if nodes.len() == 1 {
        // It is the manager's.
        return Ok(());
    }
    let manager = run.retry(deadline, || core.swarm.manager()).await?;
    // Includes nodes that are down or drained now: they may return before the containers are placed.
    let eligible = nodes
        .into_iter()
        .filter(|node| node.id != manager.node_id && node.satisfies(&plan.constraints));
    let eligible: Vec<_> = eligible.map(|node| (node.id, node.hostname)).collect();
    if eligible.is_empty() {
        return Ok(());
    }
    let facts = run.facts();
    let labels = volume_labels(core, facts.spec.name.as_str(), &facts.state.run);
    let replicas = match plan.scale {
        Scale::Replicas(replicas) => replicas,
        Scale::EveryNode => u32::MAX,
    };
    let noted = async {
        let key = run_key(facts.spec.name.as_str(), &facts.state.run)?;
        let change = |entry: &mut IndexedVolumes| {
            entry.labels = labels;
            entry.services.insert(plan.name.clone(), replicas);
            entry.nodes.extend(eligible);
        };
        core.run_volumes.index.change(&key, change).await
    };
    noted.await.map_err(|error| {
        let message = format!("cannot record the nodes of the run in `datadir`: {error}");
        facts.failed(FailureCode::Internal, &message, "is its disk full?")
    })
}

/// Labels that identify the volumes of a run.
fn volume_labels(core: &Core, task: &str, run: &str) -> Labels {
    core.labels_with([(LABEL_TASK, task), (LABEL_RUN, run)])
}

/// The runs whose objects are removed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Runs<'a> {
    /// One run.
    One {
        /// Its task.
        task: &'a str,
        /// Its suffix.
        run: &'a str,
    },
    /// All runs of a task.
    OfTask(&'a str),
}

/// The nodes with result volumes of some runs.
pub(crate) struct Places {
    /// The keys of the runs.
    keys: Vec<String>,
    /// Labels of the volumes.
    labels: Labels,
    /// Task and run of the carriers that remove them.
    owner: (String, String),
    /// The nodes of the Swarm tasks that Docker has listed.
    seen: BTreeSet<String>,
    /// Whether these are all.
    complete: bool,
}

impl Places {
    /// Finds the nodes before the services are removed, and adds those to the index that it lacks: Docker lists no Swarm tasks
    /// of removed services. Problems of the index are not fatal, because the same nodes are usually in it.
    pub async fn find(core: &Core, runs: Runs<'_>, labels: &Labels) -> Self {
        let mut places = Self {
            keys: Vec::new(),
            labels: labels.clone(),
            owner: match runs {
                Runs::One { task, run } => (task.to_owned(), run.to_owned()),
                Runs::OfTask(task) => (task.to_owned(), ALL_RUNS.to_owned()),
            },
            seen: BTreeSet::new(),
            complete: false,
        };
        if let Err(error) = places.read(core, runs).await {
            tracing::debug!(%error, "cannot find all nodes with result volumes");
        }
        places
    }

    async fn read(&mut self, core: &Core, runs: Runs<'_>) -> io::Result<()> {
        let index = &core.run_volumes.index;
        self.keys = match runs {
            Runs::One { task, run } => vec![run_key(task, run)?],
            Runs::OfTask(task) => {
                let mut keys = index.keys().await?;
                keys.retain(|key| key.ends_with(&format!("-{task}")));
                keys
            }
        };
        let mut entries = core.run_volumes.entries(&self.keys).await?;
        if let Runs::OfTask(_) = runs {
            // The name of a task may end with that of another.
            entries.retain(|_, entry| is_subset(&self.labels, &entry.labels));
            self.keys.retain(|key| entries.contains_key(key));
        }
        let services = core.swarm.services(&self.labels).await;
        let services = services.map_err(io::Error::other)?;
        let tasks = core.swarm.tasks(&self.labels).await;
        let tasks = tasks.map_err(io::Error::other)?;
        self.see(&tasks);
        let mut all = entries.values();
        self.complete = all.all(|entry| lists_all_tasks(entry, &services, &tasks));
        self.note_unknown(core, &entries, &tasks).await
    }

    /// Adds nodes to the index that have joined the Swarm after the start.
    async fn note_unknown(
        &mut self,
        core: &Core,
        entries: &BTreeMap<String, IndexedVolumes>,
        tasks: &[SwarmTask],
    ) -> io::Result<()> {
        if self.seen.is_empty() {
            return Ok(());
        }
        let manager = core.swarm.manager().await.map_err(io::Error::other)?;
        for task in tasks.iter().filter(|task| has_results(task)) {
            let (Some(node), Some(name), Some(run)) = (
                task.node_id.as_ref().filter(|id| **id != manager.node_id),
                task.labels.get(LABEL_TASK),
                task.labels.get(LABEL_RUN),
            ) else {
                continue;
            };
            let key = run_key(name, run)?;
            let entry = entries.get(&key);
            if entry.is_some_and(|entry| entry.nodes.contains_key(node)) {
                continue;
            }
            let host = host_name(&core.swarm.nodes().await.unwrap_or_default(), node);
            let add = |entry: &mut IndexedVolumes| {
                entry.labels = volume_labels(core, name, run);
                entry.nodes.insert(node.clone(), host);
            };
            core.run_volumes.index.change(&key, add).await?;
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
        Ok(())
    }

    /// Adds the nodes of Swarm tasks.
    pub fn see(&mut self, tasks: &[SwarmTask]) {
        let placed = tasks.iter().filter(|task| has_results(task));
        self.seen
            .extend(placed.filter_map(|task| task.node_id.clone()));
    }

    /// Removes the volumes on nodes other than the manager's, after the containers are gone. What is left on a node stays in
    /// the index, and the removal is retried in the background.
    ///
    /// # Errors
    /// When the removal was not attempted on all available nodes.
    pub async fn remove(self, core: &Arc<Core>) -> Result<(), String> {
        let removed = self.try_remove(core).await;
        if !matches!(&removed, Ok(problems) if problems.is_empty()) {
            sweep_in_background(core);
        }
        let problems = removed.map_err(|error| format!("volumes on other nodes: {error}"))?;
        if !problems.is_empty() {
            let task = &self.owner.0;
            tracing::warn!(task, left = %problems.join("; "), "result volumes are left on nodes; the removal is retried");
        }
        Ok(())
    }

    /// Returns the problems of nodes.
    async fn try_remove(&self, core: &Core) -> io::Result<Vec<String>> {
        let entries = core.run_volumes.entries(&self.keys).await?;
        if entries.is_empty() && self.seen.is_empty() {
            return Ok(Vec::new());
        }
        let manager = core.swarm.manager().await.map_err(io::Error::other)?;
        let indexed = entries.values().flat_map(|entry| entry.nodes.clone());
        let mut recorded: BTreeMap<String, String> = indexed.collect();
        if self.complete {
            recorded.retain(|id, _| self.seen.contains(id));
        }
        let unknown = |id: &&String| **id != manager.node_id && !recorded.contains_key(*id);
        let unknown: Vec<_> = self.seen.iter().filter(unknown).cloned().collect();
        recorded.retain(|id, _| *id != manager.node_id);
        if recorded.is_empty() && unknown.is_empty() {
            self.forget(core, |_| true).await?;
            return Ok(Vec::new());
        }
        let nodes = core.swarm.nodes().await.map_err(io::Error::other)?;
        recorded.extend(unknown.into_iter().map(|id| {
            let host = host_name(&nodes, &id);
            (id, host)
        }));
        for key in &self.keys {
            let mark = |entry: &mut IndexedVolumes| {
                if entry.labels.is_empty() {
                    entry.labels.clone_from(&self.labels);
                }
                entry.nodes.clone_from(&recorded);
                entry.removing = true;
            };
            core.run_volumes.index.change(key, mark).await?;
        }
        let order = Remove {
            labels: vec![self.labels.clone()],
            ..Remove::default()
        };
        let owner = Some((self.owner.0.as_str(), self.owner.1.as_str()));
        let own = &manager.node_id;
        let removed = volume_removal::elsewhere(core, order, owner, &recorded, own, &nodes).await;
        self.forget(core, |id| removed.cleared.contains(id)).await?;
        match removed.not_attempted {
            Some(reason) => Err(io::Error::other(reason)),
            None => Ok(removed.problems),
        }
    }

    /// Removes nodes from the entries.
    async fn forget(&self, core: &Core, is_cleared: impl Fn(&String) -> bool) -> io::Result<()> {
        forget(&core.run_volumes.index, &self.keys, is_cleared).await
    }
}

async fn forget(
    index: &VolumeIndex,
    keys: &[String],
    is_cleared: impl Fn(&String) -> bool,
) -> io::Result<()> {
    for key in keys {
        let clear = |entry: &mut IndexedVolumes| entry.nodes.retain(|id, _| !is_cleared(id));
        index.change(key, clear).await?;
    }
    Ok(())
}

/// Whether the container of a Swarm task has a result volume.
fn has_results(task: &SwarmTask) -> bool {
    role_of(&task.labels).is_some_and(atq_engine::Role::keeps_results)
}

/// Whether Docker lists all containers that may have volumes of this entry, each with its node. It does not when a service was
/// removed already, or some containers are not placed yet.
fn lists_all_tasks(entry: &IndexedVolumes, services: &[Service], tasks: &[SwarmTask]) -> bool {
    let mut expected = entry.services.iter();
    expected.all(|(name, replicas)| {
        let service = services.iter().find(|service| service.name == *name);
        service.is_some_and(|service| {
            let placed = tasks
                .iter()
                .filter(|task| task.service_id == service.id && task.node_id.is_some());
            placed.count() >= usize::try_from(*replicas).unwrap_or(usize::MAX)
        })
    })
}

fn is_subset(labels: &Labels, of: &Labels) -> bool {
    let mut labels = labels.iter();
    labels.all(|(key, value)| of.get(key) == Some(value))
}

fn host_name(nodes: &[Node], id: &str) -> String {
    let node = nodes.iter().find(|node| node.id == id);
    node.map_or_else(|| id.to_owned(), |node| node.hostname.clone())
}

/// Retries pending removals, now and then, until the process ends.
pub(crate) fn sweep_in_background(core: &Arc<Core>) {
    let mut sweep = core.run_volumes.sweep.lock();
    if sweep.is_none() {
        let sweeping = tokio::spawn(sweep_forever(Arc::downgrade(core)));
        *sweep = Some(AbortOnDropHandle::new(sweeping));
    }
}

async fn sweep_forever(core: Weak<Core>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let Some(core) = core.upgrade() else { return };
        if let Err(error) = sweep_once(&core).await {
            tracing::debug!(%error, "cannot remove the remaining result volumes yet");
        }
    }
}

/// Removes the remaining volumes of nodes that are available again.
pub(crate) async fn sweep_once(core: &Core) -> io::Result<()> {
    let index = &core.run_volumes.index;
    let mut entries = core.run_volumes.entries(&index.keys().await?).await?;
    entries.retain(|_, entry| entry.removing);
    if entries.is_empty() {
        return Ok(());
    }
    let manager = core.swarm.manager().await.map_err(io::Error::other)?;
    let nodes = core.swarm.nodes().await.map_err(io::Error::other)?;
    let is_waiting = |id: &String| {
        let node = nodes.iter().find(|node| node.id == *id);
        node.is_some_and(|node| !node.may_run(&[]))
    };
    entries.retain(|_, entry| !entry.nodes.keys().all(is_waiting));
    let entries: Vec<_> = entries.into_iter().collect();
    for batch in entries.chunks(RUNS_PER_CARRIER) {
        remove_batch(core, batch, &manager.node_id, &nodes).await?;
    }
    Ok(())
}

async fn remove_batch(
    core: &Core,
    batch: &[(String, IndexedVolumes)],
    own: &str,
    nodes: &[Node],
) -> io::Result<()> {
    let recorded = batch.iter().flat_map(|(_, entry)| entry.nodes.clone());
    let recorded: BTreeMap<String, String> = recorded.collect();
    let order = Remove {
        labels: batch
            .iter()
            .map(|(_, entry)| entry.labels.clone())
            .collect(),
        ..Remove::default()
    };
    let removed = volume_removal::elsewhere(core, order, None, &recorded, own, nodes).await;
    let Elsewhere {
        mut cleared,
        problems,
        not_attempted,
    } = removed;
    // The Director uses another manager than before.
    if recorded.contains_key(own) && remove_here(core, batch).await.is_ok() {
        cleared.insert(own.to_owned());
    }
    let left: Vec<String> = problems.into_iter().chain(not_attempted).collect();
    if !left.is_empty() {
        tracing::debug!(left = %left.join("; "), "result volumes are left on nodes");
    }
    let keys: Vec<String> = batch.iter().map(|(key, _)| key.clone()).collect();
    forget(&core.run_volumes.index, &keys, |id| cleared.contains(id)).await
}

async fn remove_here(core: &Core, batch: &[(String, IndexedVolumes)]) -> Result<(), SwarmError> {
    for (_, entry) in batch {
        for name in core.swarm.volumes(&entry.labels).await? {
            core.swarm.remove_volume(&name).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
