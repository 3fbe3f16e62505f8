//! Tasks of which something in the store cannot be read. One of them must not keep the others from
//! being taken up, listed or run.

use super::panics::caught;
use super::{
    Store, StoreError, brief_key, brief_value, encode, event_key, event_prefix, spec_key,
    state_key, values, wish_key,
};
use atq_task::event::Record;
use atq_task::machine;
use atq_task::spec::{TaskName, TaskSpec};
use atq_task::state::{Desired, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// A task that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its name, as it stands in the keys.
    pub task: String,
    /// What is wrong.
    pub reason: String,
}

/// A task of which everything could be read.
pub(super) struct Whole {
    pub spec: TaskSpec,
    pub desired: Desired,
    pub history: Vec<Record>,
    /// The fold of the history.
    pub state: State,
    /// Whether the stored state is that fold.
    pub is_folded: bool,
}

/// Task and run, as in the labels of its objects.
pub type KnownRuns = BTreeMap<String, Option<String>>;

impl Store {
    /// Removes definitions without a history, and rebuilds states that are not the fold of theirs.
    /// Neither is left by a crash; but a task must not be lost to a damaged copy of what it has twice.
    /// Gives the tasks that stay damaged; from now on [`Store::load`] refuses them.
    ///
    /// # Errors
    /// When the tasks cannot be listed, or something cannot be written.
    pub fn repair(&self) -> Result<Vec<Damage>, StoreError> {
        let mut damages = Vec::new();
        for task in self.all_names()? {
            match self.examine(&task) {
                Ok(Some(whole)) if whole.is_folded => {}
                Ok(Some(whole)) => {
                    tracing::warn!(%task, "the stored state was not the fold of its history; rebuilt");
                    let (db, mut batch) = (self.db()?, sled::Batch::default());
                    let key = state_key(&whole.spec.name);
                    values::put(&db, &mut batch, key.as_bytes(), encode(&whole.state)?)?;
                    db.apply_batch(batch)?;
                }
                Ok(None) => self.forget_remnant(&task)?,
                Err(reason) => damages.push(Damage { task, reason }),
            }
        }
        let noted = damages.iter().map(|d| (d.task.clone(), d.reason.clone()));
        *self.damaged.lock().unwrap_or_else(PoisonError::into_inner) = noted.collect();
        self.sync()?;
        Ok(damages)
    }

    /// Reads and folds everything of a task; `None` when it has no event, so that it is none.
    pub(super) fn examine(&self, task: &str) -> Result<Option<Whole>, String> {
        caught(|| self.examine_unguarded(task))
            .and_then(|examined| examined.map_err(|error| error.to_string()))
    }

    fn examine_unguarded(&self, task: &str) -> Result<Option<Whole>, StoreError> {
        let corrupt = |reason: String| StoreError::Corrupt {
            key: format!("spec/{task}"),
            reason,
        };
        let name = TaskName::parse(task).map_err(corrupt)?;
        let history = self.history(&name)?;
        if history.is_empty() {
            return Ok(None);
        }
        let spec: TaskSpec = self
            .read(&spec_key(&name))?
            .ok_or_else(|| corrupt("it is missing".to_owned()))?;
        if spec.name != name {
            return Err(corrupt("it is the definition of another task".to_owned()));
        }
        let desired = self.read(&wish_key(&name))?.unwrap_or_default();
        let state = machine::fold(&history).map_err(|reason| StoreError::History {
            task: task.to_owned(),
            reason,
        })?;
        let stored = self.read::<State>(&state_key(&name)).ok().flatten();
        let is_folded = stored.as_ref() == Some(&state);
        Ok(Some(Whole {
            spec,
            desired,
            history,
            state,
            is_folded,
        }))
    }

    fn forget_remnant(&self, task: &str) -> Result<(), StoreError> {
        let Ok(name) = TaskName::parse(task) else {
            return Ok(());
        };
        tracing::warn!(%task, "the store has no event of this task; what is there of it is forgotten");
        self.db()?.apply_batch(self.everything_of(&name)?)?;
        Ok(())
    }

    /// Why the task was found damaged by [`Store::repair`].
    pub(super) fn damage_of(&self, name: &TaskName) -> Option<String> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.get(name.as_str()).cloned()
    }

    pub(super) fn forget_damage(&self, name: &TaskName) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.remove(name.as_str());
    }

    /// The runs of all tasks. One that cannot be read has no run, but is known by its name.
    ///
    /// # Errors
    /// When the tasks cannot be listed.
    pub fn known(&self) -> Result<KnownRuns, StoreError> {
        let run = |task: &String| {
            let name = TaskName::parse(task).ok()?;
            Some(self.standing(&name).ok()??.state.run)
        };
        let names = self.all_names()?;
        Ok(names
            .into_iter()
            .map(|task| {
                let run = run(&task);
                (task, run)
            })
            .collect())
    }

    /// The names in the keys of all kinds, also those that can be no task's.
    pub(super) fn all_names(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut names = BTreeSet::new();
        let db = self.db()?;
        for key in db.scan_prefix("spec/").keys() {
            names.extend(task_of(&key?));
        }
        // A part of the events that cannot be read is found again with its task.
        let others = caught(|| {
            let keys = db.iter().keys().map_while(Result::ok);
            keys.filter_map(|key| task_of(&key)).collect::<Vec<_>>()
        });
        names.extend(others.unwrap_or_default());
        Ok(names)
    }

    /// A batch that removes all keys of a task.
    pub(super) fn everything_of(&self, name: &TaskName) -> Result<sled::Batch, StoreError> {
        let (db, mut batch) = (self.db()?, sled::Batch::default());
        for key in db.scan_prefix(event_prefix(name)).keys() {
            values::remove(&db, &mut batch, &key?)?;
        }
        for key in [
            spec_key(name),
            brief_key(name),
            state_key(name),
            wish_key(name),
        ] {
            values::remove(&db, &mut batch, key.as_bytes())?;
        }
        Ok(batch)
    }
}

/// The task that a key belongs to.
fn task_of(key: &[u8]) -> Option<String> {
    if let Some(owner) = values::owner(key) {
        return task_of(owner);
    }
    /// `/` and the number.
    const EVENT_TAIL: usize = 1 + size_of::<u64>();
    let slash = key.iter().position(|byte| *byte == b'/')?;
    let (kind, rest) = (&key[..slash], &key[slash + 1..]);
    let name = match kind {
        b"spec" | b"brief" | b"state" | b"wish" => rest,
        b"event" => rest.get(..rest.len().checked_sub(EVENT_TAIL)?)?,
        _ => return None,
    };
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Adds all keys of a task to a batch.
pub(super) fn put(db: &sled::Db, batch: &mut sled::Batch, whole: &Whole) -> Result<(), StoreError> {
    let name = &whole.spec.name;
    let spec = encode(&whole.spec)?;
    if let Some(brief) = brief_value(&whole.spec, spec.len())? {
        values::put(db, batch, brief_key(name).as_bytes(), brief)?;
    }
    values::put(db, batch, spec_key(name).as_bytes(), spec)?;
    values::put(db, batch, state_key(name).as_bytes(), encode(&whole.state)?)?;
    batch.insert(wish_key(name).as_bytes(), encode(&whole.desired)?);
    for record in &whole.history {
        values::put(db, batch, &event_key(name, record.seq), encode(record)?)?;
    }
    Ok(())
}
