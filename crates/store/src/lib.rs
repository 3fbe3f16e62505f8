//! The embedded store for tasks and their histories.
//!
//! - [`Store`]: creates tasks, appends events, and returns definitions, states and histories;
//! - [`Stored`], [`StoredState`]: a task as it is stored; [`StoreError`]: failed operations;
//! - [`EventObserver`]: is notified of recorded events;
//! - [`Exported`], [`Checked`], [`Damage`]: export, import and check of a store;
//! - [`Store::tokens`], [`Store::write_tokens`]: the tokens of clients.
//!
//! The crate alone depends on `sled`. It must not depend on an engine, on HTTP or on the driver.
//!
//! # Layout
//!
//! One sled tree for all tasks, so that one batch is atomic. Values are JSON.
//!
//! | key | value | writer |
//! | --- | --- | --- |
//! | `meta/format` | version of this layout | `open` |
//! | `spec/<task>` | the definition, with its secrets | the API, once |
//! | `brief/<task>` | the definition without environments, for lists; absent if it is hardly smaller, and in stores of earlier versions | the API, once |
//! | `wish/<task>` | the desired state ([`Desired`]) | the API |
//! | `by/<task>` | name of the client that ends the run; absent if it was not identified | the API |
//! | `event/<task>/<seq>` | an event of the history; `seq` as 8 bytes, big-endian, so that keys sort by it | the task's driver |
//! | `state/<task>` | the fold of the history, cached | the task's driver |
//! | `part/<key>/<number>` | a part of a value above 4 KiB (`values`); the number as 4 bytes, big-endian | as the value |
//!
//! A task's name has no `/`, so no key is a prefix of another task's key.
//!
//! A second tree, `tokens`, has the tokens of clients by their ids.
//!
//! # Crashes
//!
//! A definition and its first event are written in one batch, and so are an event and its state. After a crash a task
//! exists completely or not at all, and its state is the fold of its history. Writes that depend on existing values (a
//! name must be free, a desired state is never weakened) hold a lock of this process, which is the only one that has
//! the store open. Writes are acknowledged only after they are durable: on Linux sled 0.34 flushes with
//! `sync_file_range`, which survives a crash of the process but not a power failure, so each flush is followed by
//! `fdatasync` on sled's file.
//!
//! # A full disk
//!
//! sled rejects every write after its first failed one. Disk space for the next writes is therefore reserved in advance
//! (`disk_space`); if a write fails anyway, the store is reopened (`handle`).
//!
//! Logs and results are large and sled caches values in memory, so they are stored as separate files.

mod damage;
mod disk_space;
mod error;
mod handle;
mod observer;
mod panics;
mod read;
mod rescue;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod threads;
mod tokens;
mod transfer;
mod values;
mod watch;

pub use self::damage::{Damage, KnownRuns};
pub use self::error::StoreError;
pub use self::observer::EventObserver;
pub use self::rescue::Rescued;
pub use self::transfer::{Checked, Exported, ImportError};

use self::disk_space::{Disk, WriteKind};
use self::error::{error_text, open_error};
use self::handle::{Handle, Open};
use self::panics::catch_panic;
use self::threads::Threads;
use self::watch::Watchers;
use atq_task::event::Record;
use atq_task::machine;
use atq_task::spec::{TaskName, TaskSpec};
use atq_task::state::{Desired, State};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

const FORMAT: &str = "1";
/// Tasks are small; a larger cache would only increase memory usage.
const CACHE_BYTES: u64 = 256 << 10;
/// After this time sled may have missed the failure of a write; see `handle`.
const SLOW_WRITE: Duration = Duration::from_secs(5);

/// A stored task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The definition.
    pub spec: TaskSpec,
    /// The state of its run.
    pub state: State,
    /// The desired state.
    pub desired: Desired,
}

/// The state of a task without its definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredState {
    /// The state of its run.
    pub state: State,
    /// The desired state.
    pub desired: Desired,
}

/// The embedded store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
    disk: Disk,
    threads: Threads,
    /// Tasks whose creation failed midway: they are treated as absent and removed by the next write.
    failed_creations: Arc<Mutex<BTreeSet<TaskName>>>,
    /// Locked from a read until the write that depends on it.
    writing: Arc<Mutex<()>>,
    /// Damaged tasks found by [`Store::repair`]: reasons by name.
    damaged: Arc<Mutex<BTreeMap<String, String>>>,
    watchers: Watchers,
    observer: Option<Arc<dyn EventObserver>>,
    /// The point at which a driver crashes.
    #[cfg(any(test, feature = "testing"))]
    pub crash: testing::CrashPoint,
}

impl Store {
    /// Opens the store in `dir`, creating the directory if necessary. Blocks.
    ///
    /// # Errors
    /// If it is in use, unreadable or has another format.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        catch_panic(|| Self::open_uncaught(dir))
            .unwrap_or_else(|panic| Err(open_error(dir.to_path_buf(), panic)))
    }

    fn open_uncaught(dir: &Path) -> Result<Self, StoreError> {
        let refused = |reason| open_error(dir.to_path_buf(), reason);
        let open = Open::new(dir).map_err(refused)?;
        let store = Self {
            handle: Arc::new(Handle::new(dir, open)),
            disk: Disk::of(dir),
            threads: Threads::default(),
            failed_creations: Arc::default(),
            writing: Arc::default(),
            damaged: Arc::default(),
            watchers: Watchers::default(),
            observer: None,
            #[cfg(any(test, feature = "testing"))]
            crash: testing::CrashPoint::default(),
        };
        store.check_format(dir.to_path_buf())?;
        // A store whose tasks cannot be listed is unusable.
        for key in store.db()?.scan_prefix("spec/").keys() {
            key.map_err(|error| refused(error_text(&error)))?;
        }
        Ok(store)
    }

    fn check_format(&self, path: PathBuf) -> Result<(), StoreError> {
        let db = self.db()?;
        match db.get("meta/format")? {
            Some(found) if found.as_ref() == FORMAT.as_bytes() => Ok(()),
            Some(found) => Err(StoreError::Format {
                path,
                found: String::from_utf8_lossy(&found).into_owned(),
            }),
            None if !db.is_empty() => Err(open_error(
                path,
                "it has values, but no format version".to_owned(),
            )),
            None => {
                if db.was_recovered() {
                    // sled treats a damaged end of its log as never written.
                    tracing::warn!("the store in `{}` exists, but is empty", path.display());
                }
                db.insert("meta/format", FORMAT)?;
                self.sync()
            }
        }
    }

    /// Notifies `observer` of the events that this store and its clones record from now on.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn EventObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    fn notify(&self, record: &Record, state: &State) {
        if let Some(observer) = &self.observer {
            observer.recorded(record, state);
        }
    }

    /// Runs blocking calls on dedicated threads from now on, so that other work does not delay them.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn use_own_threads(&self) -> std::io::Result<()> {
        self.threads.start()
    }

    /// Stores a new task with its first event; if the name is in use, returns the existing task instead.
    ///
    /// # Errors
    /// If writing fails; then nothing is stored.
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
        let (event, state_value) = (encode(first)?, encode(&state)?);
        let brief_value = brief_value(spec, spec_value.len())?;
        let seq = first.seq;
        let created = self.writing(WriteKind::Task, move |store| {
            let _lock = store.writing.lock();
            if store.db()?.contains_key(spec_key(&name))? {
                return store.load(&name);
            }
            // A damaged task without its definition may have left events.
            let mut batch = store.everything_of(&name)?;
            let db = store.db()?;
            values::put(&db, &mut batch, spec_key(&name).as_bytes(), spec_value)?;
            if let Some(brief) = brief_value {
                values::put(&db, &mut batch, brief_key(&name).as_bytes(), brief)?;
            }
            values::put(&db, &mut batch, &event_key(&name, seq), event)?;
            values::put(&db, &mut batch, state_key(&name).as_bytes(), state_value)?;
            let written = store.db()?.apply_batch(batch).map_err(StoreError::from);
            if let Err(error) = written.and_then(|_| store.sync()) {
                // The caller gets an error, so the task must not appear later.
                store.failed_creations.lock().insert(name);
                return Err(error);
            }
            Ok(None)
        });
        let existing = created.await?;
        if existing.is_none() {
            self.notify(first, &state);
        }
        Ok(existing)
    }

    /// Appends an event and the resulting state. Returns when both are durable.
    ///
    /// # Errors
    /// If writing fails.
    pub async fn append(
        &self,
        name: &TaskName,
        record: &Record,
        state: &State,
    ) -> Result<(), StoreError> {
        let (event, state_value) = (encode(record)?, encode(state)?);
        let (event_key, state_key) = (event_key(name, record.seq), state_key(name));
        self.writing(WriteKind::Event, move |store| {
            let (db, mut batch) = (store.db()?, sled::Batch::default());
            values::put(&db, &mut batch, &event_key, event)?;
            values::put(&db, &mut batch, state_key.as_bytes(), state_value)?;
            db.apply_batch(batch)?;
            store.sync()
        })
        .await?;
        self.watchers.wake(name);
        self.notify(record, state);
        #[cfg(any(test, feature = "testing"))]
        self.crash.after(record.seq).await;
        Ok(())
    }

    /// Sets the desired state of a task. Returns when it is durable. A desired state is never weakened: a task that is
    /// to be deleted cannot be set to run or stop. Returns `None` if there is no such task: a late request must not
    /// affect the next task of that name.
    ///
    /// # Errors
    /// If writing fails.
    pub async fn set_desired(
        &self,
        name: &TaskName,
        desired: Desired,
    ) -> Result<Option<Desired>, StoreError> {
        self.set_desired_by(name, desired, None).await
    }

    /// As [`Store::set_desired`], by this client. The first client that ends a run is stored.
    ///
    /// # Errors
    /// If writing fails.
    pub async fn set_desired_by(
        &self,
        name: &TaskName,
        desired: Desired,
        by: Option<String>,
    ) -> Result<Option<Desired>, StoreError> {
        let (task, key) = (spec_key(name), desired_key(name));
        let requester = requester_key(name);
        self.writing(WriteKind::Event, move |store| {
            let _lock = store.writing.lock();
            if !store.db()?.contains_key(&task)? {
                return Ok(None);
            }
            // An unreadable value is replaced.
            let present: Desired = store.read(&key).ok().flatten().unwrap_or_default();
            let desired = present.max(desired);
            let mut batch = sled::Batch::default();
            batch.insert(key.as_bytes(), encode(&desired)?);
            if let Some(by) = by.filter(|_| present == Desired::Run && desired != Desired::Run) {
                batch.insert(requester.as_bytes(), encode(&by)?);
            }
            store.db()?.apply_batch(batch)?;
            store.sync()?;
            Ok(Some(desired))
        })
        .await
    }

    /// Removes a task. Returns when the removal is durable.
    ///
    /// # Errors
    /// If writing fails.
    pub async fn remove(&self, name: &TaskName) -> Result<(), StoreError> {
        let name = name.clone();
        self.writing(WriteKind::Event, move |store| {
            let _lock = store.writing.lock();
            store.remove_all(&name)?;
            store.damaged.lock().remove(name.as_str());
            store.watchers.wake(&name);
            Ok(())
        })
        .await
    }

    /// Removes a task only if `run` is its current run and has ended, because another task with the same name may
    /// have replaced it. Returns true if it was removed. Returns when the removal is durable.
    ///
    /// # Errors
    /// If writing fails.
    pub async fn remove_ended(&self, name: &TaskName, run: &str) -> Result<bool, StoreError> {
        let (name, run) = (name.clone(), run.to_owned());
        self.writing(WriteKind::Event, move |store| {
            let _lock = store.writing.lock();
            let stored = store.load(&name)?;
            let is_it = |stored: &Stored| stored.state.run == run && stored.state.is_done();
            if !stored.as_ref().is_some_and(is_it) {
                return Ok(false);
            }
            store.remove_all(&name)?;
            store.watchers.wake(&name);
            Ok(true)
        })
        .await
    }

    /// Notifies of every event added to a task from now on, and of its removal.
    pub fn watch(&self, name: &TaskName) -> tokio::sync::watch::Receiver<()> {
        self.watchers.watch(name)
    }

    /// Writes a value to check that the disk accepts a new task.
    ///
    /// # Errors
    /// If it does not.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.writing(WriteKind::Task, |store| {
            store.db()?.insert("meta/probe", FORMAT)?;
            store.sync()
        })
        .await
    }

    /// Runs reads that take long on a blocking thread.
    ///
    /// # Errors
    /// The errors of `work`.
    pub async fn reading<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    {
        let store = self.clone();
        self.threads.run(move || work(&store)).await?
    }

    /// As [`Store::reading`], for one task.
    ///
    /// # Errors
    /// The errors of `read`.
    pub async fn read_task<T: Send + 'static>(
        &self,
        name: &TaskName,
        read: fn(&Self, &TaskName) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let name = name.clone();
        self.reading(move |store| read(store, &name)).await
    }

    /// Runs writes if there is enough disk space.
    async fn writing<T, F>(&self, kind: WriteKind, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    {
        let mut written = pin!(self.reading(move |store| store.write(kind, work)));
        loop {
            match tokio::time::timeout(SLOW_WRITE, &mut written).await {
                Ok(written) => return written,
                Err(_) => self.handle.wake(),
            }
        }
    }

    fn write<T>(
        &self,
        kind: WriteKind,
        work: impl FnOnce(&Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.handle.reopen_if_failed()? {
            tracing::info!("the store was reopened");
        }
        self.disk.check(kind, &*self.handle.log()?)?;
        let done = catch_panic(|| {
            self.remove_failed_creations()?;
            work(self)
        });
        let done = done.unwrap_or_else(|panic| Err(StoreError::Io(panic)));
        if let Err(StoreError::Io(reason)) = &done {
            tracing::error!(%reason, "the store failed; the next write reopens it");
            self.handle.failed();
        }
        done
    }

    /// Removes tasks whose creation failed midway.
    fn remove_failed_creations(&self) -> Result<(), StoreError> {
        let failed_creations = self.failed_creations.lock().clone();
        for name in failed_creations {
            let _lock = self.writing.lock();
            self.remove_all(&name)?;
            self.failed_creations.lock().remove(&name);
        }
        Ok(())
    }

    /// Removes all keys of a task. Returns when the removal is durable.
    fn remove_all(&self, name: &TaskName) -> Result<(), StoreError> {
        self.db()?.apply_batch(self.everything_of(name)?)?;
        self.sync()
    }

    fn db(&self) -> Result<sled::Db, StoreError> {
        self.handle.db()
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let value = values::get(&self.db()?, key.as_bytes())?;
        value.map(|value| decode(key, &value)).transpose()
    }

    /// Syncs to the disk, not only to the page cache; see the module documentation.
    fn sync(&self) -> Result<(), StoreError> {
        self.handle.sync()
    }
}

/// The definition without environments.
fn brief(mut spec: TaskSpec) -> TaskSpec {
    spec.master.environment = Vec::new();
    spec.worker.environment = Vec::new();
    spec
}

/// The value stored under `brief/`, if it is so much smaller that lists benefit from it.
fn brief_value(spec: &TaskSpec, spec_bytes: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let value = encode(&brief(spec.clone()))?;
    Ok((value.len() < spec_bytes / 2).then_some(value))
}

fn records(db: &sled::Db, pairs: sled::Iter) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    for pair in pairs {
        let (key, found) = pair?;
        if let Some(value) = values::resolve(db, &key, found)? {
            records.push(decode(&key_text(&key), &value)?);
        }
    }
    Ok(records)
}

fn config(dir: &Path) -> sled::Config {
    sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
}

fn spec_key(name: &TaskName) -> String {
    format!("spec/{name}")
}

fn brief_key(name: &TaskName) -> String {
    format!("brief/{name}")
}

fn desired_key(name: &TaskName) -> String {
    format!("wish/{name}")
}

fn requester_key(name: &TaskName) -> String {
    format!("by/{name}")
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

/// A key as text, with the number of an event in digits.
fn key_text(key: &[u8]) -> String {
    match key.split_last_chunk::<8>() {
        Some((prefix, seq)) if key.starts_with(b"event/") => {
            let seq = u64::from_be_bytes(*seq);
            format!("{}{seq}", String::from_utf8_lossy(prefix))
        }
        _ => String::from_utf8_lossy(key).into_owned(),
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Io(error.to_string()))
}

/// Omits the parser's message, which may quote the value: definitions hold passwords.
fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| {
        let problem = match error.classify() {
            serde_json::error::Category::Data => "unexpected content",
            _ => "not valid JSON",
        };
        StoreError::Corrupt {
            key: key.to_owned(),
            reason: format!("{problem} at byte {} of {}", error.column(), value.len()),
        }
    })
}

#[cfg(test)]
mod tests;
