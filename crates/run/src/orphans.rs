//! Objects in the engine, and logs, of tasks that are not in the store. A Director forgets a
//! task only when nothing of it is left, so there is something only when its data directory was lost.
//!
//! A task's record is written before anything of it exists. So the engine is asked first and the store
//! after it: then no new task is taken for an orphan.

use super::Orchestrator;
use super::shared::Shared;
use atq_engine::{EngineError, Owned};
use atq_patience::{Backoff, Pauses};
use atq_store::{KnownRuns, StoreError};
use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use thiserror::Error;

/// After tries that failed.
const PAUSES: Pauses = Pauses {
    first: Duration::from_secs(5),
    longest: Duration::from_secs(300),
};
/// So many runs are removed at once; each takes seconds, most of which the engine waits for containers.
const AT_ONCE: usize = 4;
/// More names would make a log line that nobody reads.
const NAMES: usize = 50;

/// What becomes of orphans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphans {
    /// Those that were made in this Director's place are removed.
    Remove,
    /// Those of another place are removed as well.
    RemoveAll,
    /// They stay, and are spoken of.
    Keep,
}

#[derive(Debug, Error)]
enum LookError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One run of a task, as labels name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OrphanRun {
    pub task: String,
    pub run: String,
}

/// Kind and name of an object.
type Item = (&'static str, String);

/// Objects that were found in the engine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// This Director's, of runs that its store does not know.
    pub runs: BTreeMap<OrphanRun, Vec<Item>>,
    /// The same, but made in another place: by this Director before it moved, or by another one that
    /// has the same id by mistake and may be following these very tests.
    pub elsewhere: BTreeMap<OrphanRun, Vec<Item>>,
    /// This Director's by its label, but of no run that could be named.
    pub nameless: Vec<Item>,
    /// Other Directors', by id.
    pub others: BTreeMap<String, usize>,
}

/// Sorts the engine's things by what the store knows.
pub(super) fn sort(objects: Vec<Owned>, known: &KnownRuns, director: &str) -> Found {
    let mut found = Found::default();
    for object in objects {
        if object.director != director {
            *found.others.entry(object.director).or_default() += 1;
            continue;
        }
        let item = (object.kind, object.name);
        match object.run {
            Some((task, run)) => {
                if !is_known(known, &task, &run) {
                    let runs = match object.is_here {
                        true => &mut found.runs,
                        false => &mut found.elsewhere,
                    };
                    let items = runs.entry(OrphanRun { task, run }).or_default();
                    items.push(item);
                }
            }
            None => found.nameless.push(item),
        }
    }
    found
}

fn is_known(known: &KnownRuns, task: &str, run: &str) -> bool {
    match known.get(task) {
        None => false,
        // Nobody knows the runs of a task whose history cannot be read.
        Some(None) => true,
        Some(Some(present)) => present == run,
    }
}

impl Orchestrator {
    /// Looks once for what the store does not know, and removes it or speaks of it. Tries again until
    /// it has succeeded; holds up nobody.
    pub async fn look_after_orphans(self, orphans: Orphans) {
        forget_evidence(&self.shared).await;
        let found = look_until_seen(&self.shared).await;
        report_others(&self.shared, &found);
        let mut found = found;
        match orphans {
            Orphans::RemoveAll => found.runs.append(&mut found.elsewhere),
            Orphans::Remove | Orphans::Keep => report_elsewhere(&found),
        }
        if found.runs.is_empty() {
            return;
        }
        match orphans {
            Orphans::Keep => report_kept(&self.shared, &found),
            Orphans::Remove | Orphans::RemoveAll => remove(&self.shared, found).await,
        }
    }
}

/// Removes the logs of tasks that the store does not know.
async fn forget_evidence(shared: &Shared) {
    let kept = match shared.evidence.tasks().await {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(%error, "cannot look for logs of tasks that are not stored");
            return;
        }
    };
    if kept.is_empty() {
        return;
    }
    let known = match known(shared).await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(%error, "logs of tasks that are not stored are not looked for");
            return;
        }
    };
    for task in kept
        .iter()
        .filter(|task| !known.contains_key(task.as_str()))
    {
        match shared.evidence.remove(task).await {
            Ok(()) => {
                tracing::warn!(%task, "removed the logs of a task that this Director's store does not know")
            }
            Err(error) => {
                tracing::warn!(%task, %error, "cannot remove the logs of a task that this Director's store does not know")
            }
        }
    }
}

async fn known(shared: &Shared) -> Result<KnownRuns, StoreError> {
    shared.store.reading(atq_store::Store::known).await
}

async fn look_until_seen(shared: &Shared) -> Found {
    let mut backoff = Backoff::new(PAUSES);
    loop {
        match look(shared).await {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(%error, "cannot look for objects of tasks that are not stored yet")
            }
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

async fn look(shared: &Shared) -> Result<Found, LookError> {
    let objects = shared.engine.owned().await?;
    // Not before the engine's answer is there; see the top of this module.
    let known = known(shared).await?;
    Ok(sort(objects, &known, &shared.settings.director_id))
}

async fn remove(shared: &Shared, found: Found) {
    let (objects, runs) = (count(&found), found.runs.len());
    tracing::warn!(
        objects = %names(&found),
        "found {objects} object(s) of {runs} run(s) that this Director's store does not know (its data directory was lost?): removing them; `--adopt-orphans=keep` keeps them",
    );
    stream::iter(found.runs.into_keys())
        .for_each_concurrent(AT_ONCE, |run| remove_run(shared, run))
        .await;
    tracing::info!("removed {objects} object(s) of {runs} run(s) that were not stored");
}

/// Tries until nothing is left.
async fn remove_run(shared: &Shared, orphan: OrphanRun) {
    let OrphanRun { task, run } = &orphan;
    let mut backoff = Backoff::new(PAUSES);
    loop {
        let left = shared.engine.release_owned(task, run).await;
        if left.is_empty() {
            tracing::info!(%task, %run, "removed a run that was not stored");
            return;
        }
        let pause = backoff.next_pause();
        tracing::warn!(
            %task,
            %run,
            left = %left.join("; "),
            "a run that is not stored could not be removed whole; tried again in {} s",
            pause.as_secs()
        );
        tokio::time::sleep(pause).await;
    }
}

fn report_kept(shared: &Shared, found: &Found) {
    let all: Vec<Item> = found.runs.values().flatten().cloned().collect();
    tracing::warn!(
        objects = %names(found),
        "found {} object(s) of {} run(s) that this Director's store does not know (its data directory was lost?): they stay, as `--adopt-orphans=keep` says; a start without it removes them, and so do by hand: {}",
        count(found),
        found.runs.len(),
        shared.engine.by_hand(&all)
    );
}

fn report_others(shared: &Shared, found: &Found) {
    if !found.nameless.is_empty() {
        tracing::warn!(
            objects = %list(&found.nameless),
            "found {} object(s) with this Director's label, but without task and run; they stay",
            found.nameless.len()
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
        "{} holds objects of other Directors, which stay: {}; if the data of one of them was lost, `directorId: <id>` in the configuration adopts its objects",
        shared.engine.name(),
        counts.join(", ")
    );
}

fn report_elsewhere(found: &Found) {
    if found.elsewhere.is_empty() {
        return;
    }
    let objects: Vec<_> = found.elsewhere.values().flatten().cloned().collect();
    tracing::warn!(
        objects = %list(&objects),
        "found {} object(s) of {} run(s) with this Director's id that were made by a Director with another host, data directory or port; they stay. If that one is running, give one of the two another `directorId`; if it is gone, `--adopt-orphans=remove-all` removes them",
        objects.len(),
        found.elsewhere.len()
    );
}

fn count(found: &Found) -> usize {
    found.runs.values().map(Vec::len).sum()
}

fn names(found: &Found) -> String {
    let all: Vec<_> = found.runs.values().flatten().cloned().collect();
    list(&all)
}

fn list(objects: &[Item]) -> String {
    let mut text = String::new();
    for (kind, name) in objects.iter().take(NAMES) {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a text does not fail.
        let _ = write!(text, "{comma}{kind} {name}");
    }
    if objects.len() > NAMES {
        let _ = write!(text, " and {} more", objects.len() - NAMES);
    }
    text
}
