//! Reads tasks: single ones or all, completely or partly.

use super::panics::catch_panic;
use super::{
    Store, StoreError, Stored, StoredState, brief, brief_key, desired_key, event_key, event_prefix,
    records, requester_key, spec_key, state_key,
};
use atq_task::event::Record;
use atq_task::spec::{TaskName, TaskSpec};
use atq_task::state::State;

impl Store {
    /// The task with this name.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a part of it cannot be read.
    pub fn load(&self, name: &TaskName) -> Result<Option<Stored>, StoreError> {
        self.guarded(name, || {
            let spec = self.read(&spec_key(name))?;
            self.stored(name, spec)
        })
    }

    /// The task with this name, without environments: they are the largest part of a definition, and lists do not show them.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn load_brief(&self, name: &TaskName) -> Result<Option<Stored>, StoreError> {
        self.guarded(name, || {
            let spec = match self.read(&brief_key(name))? {
                Some(spec) => Some(spec),
                None => self.read(&spec_key(name))?.map(brief),
            };
            self.stored(name, spec)
        })
    }

    /// The state of the task with this name; its definition is not read.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn load_state(&self, name: &TaskName) -> Result<Option<StoredState>, StoreError> {
        self.guarded(name, || {
            if !self.db()?.contains_key(spec_key(name))? {
                return Ok(None);
            }
            // Another program has written this value; `repair` restores the state from the history.
            let Some(state) = self.read(&state_key(name))? else {
                return Ok(None);
            };
            let desired = self.read(&desired_key(name))?.unwrap_or_default();
            Ok(Some(StoredState { state, desired }))
        })
    }

    /// Name of the client that ends the run of this task, if it was identified.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn requester(&self, name: &TaskName) -> Result<Option<String>, StoreError> {
        self.read(&requester_key(name))
    }

    /// Calls `read` unless the task is known to be damaged, and reports damage that it finds.
    fn guarded<T>(
        &self,
        name: &TaskName,
        read: impl FnOnce() -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let damaged = |reason| StoreError::Damaged {
            task: name.to_string(),
            reason,
        };
        if let Some(reason) = self.damage_of(name) {
            return Err(damaged(reason));
        }
        if self.failed_creations.lock().contains(name) {
            return Ok(None);
        }
        match catch_panic(read) {
            Ok(Err(error @ StoreError::Corrupt { .. })) => Err(damaged(error.to_string())),
            Ok(loaded) => loaded,
            Err(panic) => Err(damaged(panic)),
        }
    }

    fn stored(
        &self,
        name: &TaskName,
        spec: Option<TaskSpec>,
    ) -> Result<Option<Stored>, StoreError> {
        let Some(spec) = spec else {
            return Ok(None);
        };
        let state: Option<State> = self.read(&state_key(name))?;
        let desired = self.read(&desired_key(name))?.unwrap_or_default();
        // Another program has written a task without a state; `repair` restores the state from the history.
        Ok(state.map(|state| Stored {
            spec,
            state,
            desired,
        }))
    }

    /// All readable tasks, sorted by name. Damaged ones are skipped, so that they do not
    /// hide the others.
    #[cfg(test)]
    pub fn all(&self) -> Result<Vec<Stored>, StoreError> {
        let names = self.names()?;
        Ok(names
            .iter()
            .filter_map(|name| self.load(name).ok().flatten())
            .collect())
    }

    /// Calls `visit` with each readable task, without environments, sorted by name. Damaged tasks are skipped, so that they
    /// do not hide the others.
    ///
    /// # Errors
    /// When the tasks cannot be listed.
    pub fn each_brief(&self, visit: impl FnMut(Stored)) -> Result<(), StoreError> {
        self.each_with(|name| self.load_brief(name), visit)
    }

    /// Calls `visit` with the state of each readable task; otherwise as [`Store::each_brief`].
    ///
    /// # Errors
    /// When the tasks cannot be listed.
    pub fn each_state(
        &self,
        mut visit: impl FnMut(&TaskName, StoredState),
    ) -> Result<(), StoreError> {
        let read = |name: &TaskName| {
            let stored = self.load_state(name)?;
            Ok(stored.map(|stored| (name.clone(), stored)))
        };
        self.each_with(read, |(name, stored)| visit(&name, stored))
    }

    /// Loads one task at a time: a thousand at once would dominate the memory usage.
    fn each_with<T>(
        &self,
        read: impl Fn(&TaskName) -> Result<Option<T>, StoreError>,
        mut visit: impl FnMut(T),
    ) -> Result<(), StoreError> {
        for name in self.names()? {
            match read(&name) {
                Ok(found) => found.into_iter().for_each(&mut visit),
                Err(error @ StoreError::Damaged { .. }) => tracing::debug!(%error, "skipped"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The names of all tasks, ascending.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn names(&self) -> Result<Vec<TaskName>, StoreError> {
        let mut names = Vec::new();
        for key in self.db()?.scan_prefix("spec/").keys() {
            let key = key?;
            let text = String::from_utf8_lossy(&key["spec/".len()..]).into_owned();
            // An invalid name was written by another program; `repair` reports it.
            names.extend(TaskName::parse(&text));
        }
        let failed_creations = self.failed_creations.lock();
        names.retain(|name| !failed_creations.contains(name));
        Ok(names)
    }

    /// Bytes of the store's files.
    ///
    /// # Errors
    /// When their sizes cannot be read.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.db()?.size_on_disk()?)
    }

    /// The history of a task, oldest event first; empty when there is no such task.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn history(&self, name: &TaskName) -> Result<Vec<Record>, StoreError> {
        if self.failed_creations.lock().contains(name) {
            return Ok(Vec::new());
        }
        let db = self.db()?;
        records(&db, db.scan_prefix(event_prefix(name)))
    }

    /// The events of a task after the one with the number `seq`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn history_after(&self, name: &TaskName, seq: u64) -> Result<Vec<Record>, StoreError> {
        let Some(next) = seq.checked_add(1) else {
            return Ok(Vec::new());
        };
        let all = event_key(name, next)..=event_key(name, u64::MAX);
        let db = self.db()?;
        records(&db, db.range(all))
    }
}
