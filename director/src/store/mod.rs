//! The embedded store: what is remembered about tasks.
//!
//! # Layout
//!
//! One sled tree, so that one batch is atomic. Values are JSON.
//!
//! | key | value | writer |
//! | --- | --- | --- |
//! | `meta/format` | version of this layout | `open` |
//! | `spec/<task>` | the definition, with its secrets | the API, once |
//! | `wish/<task>` | where the task is steered ([`Desired`]) | the API |
//! | `event/<task>/<seq>` | a fact of the history; `seq` as 8 bytes, big-endian, so that they sort | the task's driver |
//! | `state/<task>` | the fold of the history, so that a look needs not to fold | the task's driver |
//!
//! A task's name has no `/`, so no key is a prefix of another task's key.
//!
//! # Crashes
//!
//! A definition and its first event are one batch; an event and its state are one batch. So after a
//! crash a task is there whole or not at all, and its state is the fold of its history. Writes that
//! depend on what is there (a name is free, a wish only grows) hold a lock of this process, which is
//! the only one that has the store open. Nothing is
//! acknowledged before it is on the disk: on Linux sled 0.34 flushes with `sync_file_range`, which
//! survives the end of the process but not a power cut, so each flush is followed by `fdatasync` on
//! sled's file.
//!
//! Logs and results are files elsewhere: sled keeps values in its page cache, and they are large.

use crate::task::event::Record;
use crate::task::machine::{self, BadHistory};
use crate::task::spec::{TaskName, TaskSpec};
use crate::task::state::{Desired, State};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

const FORMAT: &str = "1";
/// Tasks are small; a large cache would only make the Director's memory grow.
const CACHE_BYTES: u64 = 4 << 20;

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the store in `{path}` is in use by another process\n(is another Director running on this `datadir`?)"
    )]
    Locked {
        /// Its directory.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error(
        "cannot open the store in `{path}`: {reason}\n(move the directory away to start with an empty one; running tests are then not followed)"
    )]
    Open {
        /// Its directory.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// It was written by another version.
    #[error("the store in `{path}` has format `{found}`; this Director reads format `{FORMAT}`")]
    Format {
        /// Its directory.
        path: PathBuf,
        /// The format found.
        found: String,
    },
    /// Reading or writing failed.
    #[error(
        "the store failed: {0}\n(is the disk full? after such a failure the Director must be restarted)"
    )]
    Io(String),
    /// A value cannot be understood.
    #[error("the store's value `{key}` cannot be read: {reason}")]
    Corrupt {
        /// Its key.
        key: String,
        /// The cause.
        reason: String,
    },
    /// A history does not fold.
    #[error("the history of `{task}` cannot be read: {reason}")]
    History {
        /// The task.
        task: String,
        /// The cause.
        reason: BadHistory,
    },
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// A task as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The definition.
    pub spec: TaskSpec,
    /// What is known about the run.
    pub state: State,
    /// Where it is steered.
    pub desired: Desired,
}

/// The embedded store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: sled::Db,
    file: Arc<File>,
    /// Held from a look to the write that depends on it.
    looking: Arc<Mutex<()>>,
    #[cfg(test)]
    pub(crate) crash: tests::CrashPoint,
}

impl Store {
    /// Opens the store in `dir`, which is created if it is not there. Blocks.
    ///
    /// # Errors
    /// When it is in use, unreadable or of another format.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.to_path_buf();
        let opened = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open();
        let db = opened.map_err(|error| open_error(path.clone(), &error.to_string()))?;
        let file = File::open(dir.join("db"))
            .map_err(|error| open_error(path.clone(), &error.to_string()))?;
        let store = Self {
            db,
            file: Arc::new(file),
            looking: Arc::default(),
            #[cfg(test)]
            crash: tests::CrashPoint::default(),
        };
        store.check_format(path)?;
        Ok(store)
    }

    fn check_format(&self, path: PathBuf) -> Result<(), StoreError> {
        match self.db.get("meta/format")? {
            Some(found) if found.as_ref() == FORMAT.as_bytes() => Ok(()),
            Some(found) => Err(StoreError::Format {
                path,
                found: String::from_utf8_lossy(&found).into_owned(),
            }),
            None => {
                self.db.insert("meta/format", FORMAT)?;
                self.sync()
            }
        }
    }

    /// Stores a new task with its first event, unless there is one with this name: then gives it.
    ///
    /// # Errors
    /// When the disk does not take it; then nothing is stored.
    pub async fn create(
        &self,
        spec: &TaskSpec,
        first: &Record,
    ) -> Result<Option<Stored>, StoreError> {
        let state = machine::begin(first).map_err(|reason| StoreError::History {
            task: spec.name.to_string(),
            reason,
        })?;
        let (name, spec_value) = (spec.name.clone(), encode(spec)?);
        let (event, state) = (encode(first)?, encode(&state)?);
        let seq = first.seq;
        self.blocking(move |store| {
            let _looking = store.look();
            if store.db.contains_key(spec_key(&name))? {
                return store.load(&name);
            }
            let mut batch = sled::Batch::default();
            batch.insert(spec_key(&name).as_bytes(), spec_value);
            batch.insert(event_key(&name, seq), event);
            batch.insert(state_key(&name).as_bytes(), state);
            batch.remove(wish_key(&name).as_bytes());
            store.db.apply_batch(batch)?;
            if let Err(error) = store.sync() {
                // Whoever asked is told that nothing is stored, so nothing may be.
                store.db.apply_batch(store.everything_of(&name)?)?;
                return Err(error);
            }
            Ok(None)
        })
        .await
    }

    /// Adds an event and the state that it leads to. Returns when both are on the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn append(
        &self,
        name: &TaskName,
        record: &Record,
        state: &State,
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        batch.insert(event_key(name, record.seq), encode(record)?);
        batch.insert(state_key(name).as_bytes(), encode(state)?);
        self.blocking(move |store| {
            store.db.apply_batch(batch)?;
            store.sync()
        })
        .await?;
        #[cfg(test)]
        self.crash.after(record.seq).await;
        Ok(())
    }

    /// Steers a task. Returns when that is on the disk. A wish only grows: a task that is to be
    /// deleted stays so. `None` when there is no such task: a wish that came too late must not
    /// steer the next task of that name.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn wish(
        &self,
        name: &TaskName,
        desired: Desired,
    ) -> Result<Option<Desired>, StoreError> {
        let (task, key) = (spec_key(name), wish_key(name));
        self.blocking(move |store| {
            let _looking = store.look();
            if !store.db.contains_key(&task)? {
                return Ok(None);
            }
            let present: Desired = store.read(&key)?.unwrap_or_default();
            let wish = present.max(desired);
            store.db.insert(&key, encode(&wish)?)?;
            store.sync()?;
            Ok(Some(wish))
        })
        .await
    }

    /// Forgets a task. Returns when that is on the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn remove(&self, name: &TaskName) -> Result<(), StoreError> {
        let name = name.clone();
        self.blocking(move |store| {
            let _looking = store.look();
            store.db.apply_batch(store.everything_of(&name)?)?;
            store.sync()
        })
        .await
    }

    /// A batch that removes all keys of a task.
    fn everything_of(&self, name: &TaskName) -> Result<sled::Batch, StoreError> {
        let mut batch = sled::Batch::default();
        for key in self.db.scan_prefix(event_prefix(name)).keys() {
            batch.remove(key?);
        }
        for key in [spec_key(name), state_key(name), wish_key(name)] {
            batch.remove(key.as_bytes());
        }
        Ok(batch)
    }

    fn look(&self) -> MutexGuard<'_, ()> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task with this name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(&self, name: &TaskName) -> Result<Option<Stored>, StoreError> {
        let Some(spec) = self.read(&spec_key(name))? else {
            return Ok(None);
        };
        // Not written by this program; `repair` brings the state back from the history.
        let Some(state) = self.read(&state_key(name))? else {
            return Ok(None);
        };
        let desired = self.read(&wish_key(name))?.unwrap_or_default();
        Ok(Some(Stored {
            spec,
            state,
            desired,
        }))
    }

    /// All tasks, in the order of their names.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn all(&self) -> Result<Vec<Stored>, StoreError> {
        let mut tasks = Vec::new();
        for name in self.names()? {
            tasks.extend(self.load(&name)?);
        }
        Ok(tasks)
    }

    /// The names of all tasks, ascending.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn names(&self) -> Result<Vec<TaskName>, StoreError> {
        let mut names = Vec::new();
        for key in self.db.scan_prefix("spec/").keys() {
            let key = key?;
            let text = String::from_utf8_lossy(&key["spec/".len()..]).into_owned();
            let name = TaskName::parse(&text).map_err(|reason| StoreError::Corrupt {
                key: format!("spec/{text}"),
                reason,
            })?;
            names.push(name);
        }
        Ok(names)
    }

    /// The history of a task, oldest event first; empty when there is no such task.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn history(&self, name: &TaskName) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for pair in self.db.scan_prefix(event_prefix(name)) {
            let (key, value) = pair?;
            records.push(decode(&String::from_utf8_lossy(&key), &value)?);
        }
        Ok(records)
    }

    /// Removes definitions without a history, and rebuilds states that are not the fold of theirs.
    /// Neither is left by a crash; but a task must not be lost to a damaged copy of what it has twice.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn repair(&self) -> Result<(), StoreError> {
        for name in self.names()? {
            let history = self.history(&name)?;
            if history.is_empty() {
                self.db.remove(spec_key(&name))?;
                continue;
            }
            let state = machine::fold(&history).map_err(|reason| StoreError::History {
                task: name.to_string(),
                reason,
            })?;
            if self
                .read::<State>(&state_key(&name))
                .ok()
                .flatten()
                .as_ref()
                != Some(&state)
            {
                tracing::warn!(task = %name, "the stored state was not the fold of its history; rebuilt");
                self.db.insert(state_key(&name), encode(&state)?)?;
            }
        }
        self.sync()
    }

    /// Writes and reads a value, to see whether the disk still takes one. Blocks.
    ///
    /// # Errors
    /// When it does not.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.db.insert("meta/probe", FORMAT)?;
        self.sync()
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        self.db
            .get(key)?
            .map(|value| decode(key, &value))
            .transpose()
    }

    /// To the platter, not only to the page cache; see the top of this module.
    fn sync(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.file
            .sync_data()
            .map_err(|error| StoreError::Io(error.to_string()))
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Io(error.to_string())),
        }
    }
}

fn open_error(path: PathBuf, reason: &str) -> StoreError {
    match reason.contains("could not acquire lock") {
        true => StoreError::Locked { path },
        false => StoreError::Open {
            path,
            reason: reason.to_owned(),
        },
    }
}

fn spec_key(name: &TaskName) -> String {
    format!("spec/{name}")
}

fn wish_key(name: &TaskName) -> String {
    format!("wish/{name}")
}

fn state_key(name: &TaskName) -> String {
    format!("state/{name}")
}

fn event_prefix(name: &TaskName) -> String {
    format!("event/{name}/")
}

fn event_key(name: &TaskName, seq: u64) -> Vec<u8> {
    [event_prefix(name).as_bytes(), &seq.to_be_bytes()].concat()
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Io(error.to_string()))
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Corrupt {
        key: key.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
pub(crate) mod tests;
