//! Objects in the engine, and logs, of tasks that are not in the store. A Director deletes the record of a task only
//! after all its objects, so orphans exist only if the data directory was lost.
//!
//! The record of a task is written before its first object exists. The engine is therefore read before the store:
//! a new task is never taken for an orphan.

use super::Orchestrator;
use super::shared::Shared;
use atq_engine::{EngineError, Owned};
use atq_retry::{Backoff, Pauses};
use atq_store::{KnownRuns, StoreError};
use atq_task::spec::TaskName;
use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// Backoff after failed attempts.
const BACKOFF: Pauses = Pauses {
    first: Duration::from_secs(5),
    longest: Duration::from_secs(300),
};
/// Maximum number of concurrent removals. Each takes seconds, mostly waiting for containers to end.
const MAX_CONCURRENT_REMOVALS: usize = 4;
/// Maximum number of names in a log line.
const MAX_NAMES: usize = 50;

/// The handling of orphans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanPolicy {
    /// Removes orphans created with the same host, data directory and port.
    Remove,
    /// Removes all orphans of this Director's id.
    RemoveAll,
    /// Keeps orphans and logs them.
    Keep,
}

#[derive(Debug, Error)]
enum SearchError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A run of a task, from labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OrphanRun {
    pub task: String,
    pub run: String,
}

/// Kind and name of an object.
type Item = (&'static str, String);

/// Objects in the engine that belong to no stored run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FoundObjects {
    /// Objects of this Director whose runs are not in its store.
    pub runs: BTreeMap<OrphanRun, Vec<Item>>,
    /// As `runs`, but created with another host, data directory or port: by this Director before it moved, or by
    /// another Director that was given the same id by mistake and may still be running these tests.
    pub elsewhere: BTreeMap<OrphanRun, Vec<Item>>,
    /// Objects with this Director's label but without task and run.
    pub unassigned: Vec<Item>,
    /// Number of objects of other Directors, by id.
    pub others: BTreeMap<String, usize>,
}

/// Classifies the objects of the engine by the runs in the store.
pub(super) fn classify(objects: Vec<Owned>, known: &KnownRuns, director: &str) -> FoundObjects {
    let mut found = FoundObjects::default();
    for object in objects {
        if object.director != director {
            *found.others.entry(object.director).or_default() += 1;
            continue;
        }
        let item = (object.kind, object.name);
        let Some((task, run)) = object.run else {
            found.unassigned.push(item);
            continue;
        };
        if !is_known(known, &task, &run) {
            let runs = match object.is_here {
                true => &mut found.runs,
                false => &mut found.elsewhere,
            };
            runs.entry(OrphanRun { task, run }).or_default().push(item);
        }
    }
    found
}

fn is_known(known: &KnownRuns, task: &str, run: &str) -> bool {
    match known.get(task) {
        None => false,
        // The run of a task with an unreadable history is unknown.
        Some(None) => true,
        Some(Some(present)) => present == run,
    }
}

impl Orchestrator {
    /// Searches once for orphans, and removes or logs them. Retries until it succeeds; blocks nothing else.
    pub async fn handle_orphans(self, orphans: OrphanPolicy) {
        remove_orphaned_evidence(&self.shared).await;
        let mut found = search_until_found(&self.shared).await;
        report_others(&self.shared, &found);
        match orphans {
            OrphanPolicy::RemoveAll => found.runs.append(&mut found.elsewhere),
            OrphanPolicy::Remove | OrphanPolicy::Keep => report_elsewhere(&found),
        }
        if found.runs.is_empty() {
            return;
        }
        match orphans {
            OrphanPolicy::Keep => report_kept(&self.shared, &found),
            OrphanPolicy::Remove | OrphanPolicy::RemoveAll => remove(&self.shared, found).await,
        }
    }
}

/// Removes the evidence of tasks that are not in the store.
async fn remove_orphaned_evidence(shared: &Shared) {
    let kept = shared.evidence.tasks().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot search for logs of tasks that are not in the store");
        Vec::new()
    });
    if kept.is_empty() {
        return;
    }
    let known = match known(shared).await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(%error, "cannot read the store; logs of tasks that are not in the store are not removed");
            return;
        }
    };
    let is_unknown = |task: &&TaskName| !known.contains_key(task.as_str());
    for task in kept.iter().filter(is_unknown) {
        match shared.evidence.remove(task).await {
            Ok(()) => {
                tracing::warn!(%task, "removed the logs of a task that is not in the store")
            }
            Err(error) => {
                tracing::warn!(%task, %error, "cannot remove the logs of a task that is not in the store")
            }
        }
    }
}

async fn known(shared: &Shared) -> Result<KnownRuns, StoreError> {
    shared.store.reading(atq_store::Store::known).await
}

async fn search_until_found(shared: &Shared) -> FoundObjects {
    let mut backoff = Backoff::new(BACKOFF);
    loop {
        match search(shared).await {
            Ok(found) => return found,
            Err(error) => tracing::debug!(%error, "cannot search for orphans; retrying"),
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

async fn search(shared: &Shared) -> Result<FoundObjects, SearchError> {
    let objects = shared.engine.owned().await?;
    // Read after the response of the engine; see the documentation of this module.
    let known = known(shared).await?;
    Ok(classify(objects, &known, &shared.settings.director_id))
}

async fn remove(shared: &Shared, found: FoundObjects) {
    let all = objects_of(&found.runs);
    let (objects, runs) = (all.len(), found.runs.len());
    tracing::warn!(
        objects = %list(&all),
        "found {objects} object(s) of {runs} run(s) that are not in the store (was the data directory lost?): removing them; `--adopt-orphans=keep` keeps them",
    );
    stream::iter(found.runs.into_keys())
        .for_each_concurrent(MAX_CONCURRENT_REMOVALS, |run| remove_run(shared, run))
        .await;
    tracing::info!("removal of orphans complete: {objects} object(s) of {runs} run(s)");
}

/// Retries until nothing is left.
async fn remove_run(shared: &Shared, orphan: OrphanRun) {
    let OrphanRun { task, run } = &orphan;
    let mut backoff = Backoff::new(BACKOFF);
    loop {
        let left = shared.engine.release_owned(task, run).await;
        if left.is_empty() {
            tracing::info!(%task, %run, "removed a run that is not in the store");
            return;
        }
        let pause = backoff.next_pause();
        tracing::warn!(
            %task,
            %run,
            left = %left.join("; "),
            "a run that is not in the store could not be removed completely; retrying in {} s",
            pause.as_secs()
        );
        tokio::time::sleep(pause).await;
    }
}

fn report_kept(shared: &Shared, found: &FoundObjects) {
    let all = objects_of(&found.runs);
    tracing::warn!(
        objects = %list(&all),
        "found {} object(s) of {} run(s) that are not in the store (was the data directory lost?): `--adopt-orphans=keep` keeps them; a start without it removes them, or use: {}",
        all.len(),
        found.runs.len(),
        shared.engine.removal_commands(&all)
    );
}

fn report_others(shared: &Shared, found: &FoundObjects) {
    if !found.unassigned.is_empty() {
        tracing::warn!(
            objects = %list(&found.unassigned),
            "found {} object(s) with this Director's label but without task and run; they are kept",
            found.unassigned.len()
        );
    }
    if found.others.is_empty() {
        return;
    }
    let counts: Vec<String> = found
        .others
        .iter()
        .map(|(id, count)| format!("{count} of `{id}`"))
        .collect();
    tracing::info!(
        "{} holds objects of other Directors, which are kept: {}; if the data of one of them was lost, `directorId: <id>` in the configuration adopts its objects",
        shared.engine.name(),
        counts.join(", ")
    );
}

fn report_elsewhere(found: &FoundObjects) {
    if found.elsewhere.is_empty() {
        return;
    }
    let objects = objects_of(&found.elsewhere);
    tracing::warn!(
        objects = %list(&objects),
        "found {} object(s) of {} run(s) with this Director's id that were created by a Director with another host, data directory or port; they are kept. If that Director is running, give one of the two another `directorId`; otherwise `--adopt-orphans=remove-all` removes them",
        objects.len(),
        found.elsewhere.len()
    );
}

fn objects_of(runs: &BTreeMap<OrphanRun, Vec<Item>>) -> Vec<Item> {
    runs.values().flatten().cloned().collect()
}

fn list(objects: &[Item]) -> String {
    let shown = objects.iter().take(MAX_NAMES);
    let shown: Vec<String> = shown.map(|(kind, name)| format!("{kind} {name}")).collect();
    match objects.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
