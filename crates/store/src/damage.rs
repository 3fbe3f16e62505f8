//! Finds and repairs damaged tasks. One damaged task must not prevent the others from being loaded, listed
//! or run.

use super::panics::catch_panic;
use super::{
    Store, StoreError, brief_key, brief_value, desired_key, encode, event_key, event_prefix,
    requester_key, spec_key, state_key, values,
};
use atq_task::event::Record;
use atq_task::machine;
use atq_task::spec::{TaskName, TaskSpec};
use atq_task::state::{Desired, State};
use std::collections::{BTreeMap, BTreeSet};

/// A damaged task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its name as stored in the keys.
    pub task: String,
    /// The problem.
    pub reason: String,
}

/// A task that was read completely.
pub(super) struct IntactTask {
    pub spec: TaskSpec,
    pub desired: Desired,
    pub history: Vec<Record>,
    /// The fold of the history.
    pub state: State,
    /// True if the stored state equals `state`.
    pub state_is_current: bool,
}

/// The run of each task, by its name.
pub type KnownRuns = BTreeMap<String, Option<String>>;

impl Store {
    /// Removes definitions without a history, and rebuilds states that differ from the fold of their history. A crash
    /// causes neither, but a damaged copy of the state must not make a readable task unusable. Returns the tasks that
    /// stay damaged; [`Store::load`] returns an error for them from now on.
    ///
    /// # Errors
    /// When the tasks cannot be listed, or something cannot be written.
    pub fn repair(&self) -> Result<Vec<Damage>, StoreError> {
        let mut damages = Vec::new();
        for task in self.all_names()? {
            match self.examine(&task) {
                Ok(Some(intact)) if intact.state_is_current => {}
                Ok(Some(intact)) => {
                    tracing::warn!(%task, "the stored state differed from the history; rebuilt");
                    let (db, mut batch) = (self.db()?, sled::Batch::default());
                    let key = state_key(&intact.spec.name);
                    values::put(&db, &mut batch, key.as_bytes(), encode(&intact.state)?)?;
                    db.apply_batch(batch)?;
                }
                Ok(None) => self.remove_remnant(&task)?,
                Err(reason) => damages.push(Damage { task, reason }),
            }
        }
        let noted = damages.iter().map(|d| (d.task.clone(), d.reason.clone()));
        *self.damaged.lock() = noted.collect();
        self.sync()?;
        Ok(damages)
    }

    /// Reads all values of a task and folds its history. `None` if there is no event: such a task does not exist.
    pub(super) fn examine(&self, task: &str) -> Result<Option<IntactTask>, String> {
        catch_panic(|| self.examine_uncaught(task))
            .and_then(|examined| examined.map_err(|error| error.to_string()))
    }

    fn examine_uncaught(&self, task: &str) -> Result<Option<IntactTask>, StoreError> {
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
        let desired = self.read(&desired_key(&name))?.unwrap_or_default();
        let state = machine::fold(&history).map_err(|reason| StoreError::History {
            task: task.to_owned(),
            reason,
        })?;
        let stored = self.read::<State>(&state_key(&name)).ok().flatten();
        let state_is_current = stored.as_ref() == Some(&state);
        Ok(Some(IntactTask {
            spec,
            desired,
            history,
            state,
            state_is_current,
        }))
    }

    fn remove_remnant(&self, task: &str) -> Result<(), StoreError> {
        let Ok(name) = TaskName::parse(task) else {
            return Ok(());
        };
        tracing::warn!(%task, "the store has no event of this task; its other values are removed");
        self.db()?.apply_batch(self.everything_of(&name)?)?;
        Ok(())
    }

    /// The reason why [`Store::repair`] found the task damaged.
    pub(super) fn damage_of(&self, name: &TaskName) -> Option<String> {
        self.damaged.lock().get(name.as_str()).cloned()
    }

    /// The runs of all tasks. A task that cannot be read is listed without its run.
    ///
    /// # Errors
    /// When the tasks cannot be listed.
    pub fn known(&self) -> Result<KnownRuns, StoreError> {
        let run = |task: &String| {
            let name = TaskName::parse(task).ok()?;
            Some(self.load_state(&name).ok()??.state.run)
        };
        let names = self.all_names()?.into_iter();
        Ok(names.map(|task| (task.clone(), run(&task))).collect())
    }

    /// The task names in keys of all kinds, including invalid names.
    pub(super) fn all_names(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut names = BTreeSet::new();
        let db = self.db()?;
        for key in db.scan_prefix("spec/").keys() {
            names.extend(task_of(&key?));
        }
        // Keys that cannot be read are reported when their task is examined.
        let others = catch_panic(|| {
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
        for key in [spec_key, brief_key, state_key, desired_key, requester_key].map(|key| key(name))
        {
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
    /// Length of `/` and the event number.
    const EVENT_TAIL: usize = 1 + size_of::<u64>();
    let slash = key.iter().position(|byte| *byte == b'/')?;
    let (kind, rest) = (&key[..slash], &key[slash + 1..]);
    let name = match kind {
        b"spec" | b"brief" | b"state" | b"wish" | b"by" => rest,
        b"event" => rest.get(..rest.len().checked_sub(EVENT_TAIL)?)?,
        _ => return None,
    };
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Adds all keys of a task to a batch.
pub(super) fn put(
    db: &sled::Db,
    batch: &mut sled::Batch,
    intact: &IntactTask,
) -> Result<(), StoreError> {
    let name = &intact.spec.name;
    let spec = encode(&intact.spec)?;
    if let Some(brief) = brief_value(&intact.spec, spec.len())? {
        values::put(db, batch, brief_key(name).as_bytes(), brief)?;
    }
    values::put(db, batch, spec_key(name).as_bytes(), spec)?;
    let state = encode(&intact.state)?;
    values::put(db, batch, state_key(name).as_bytes(), state)?;
    batch.insert(desired_key(name).as_bytes(), encode(&intact.desired)?);
    for record in &intact.history {
        values::put(db, batch, &event_key(name, record.seq), encode(record)?)?;
    }
    Ok(())
}
