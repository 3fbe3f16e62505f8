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
//! | `brief/<task>` | the definition without environments, for lists; absent when it is hardly smaller, and in stores of earlier versions | the API, once |
//! | `wish/<task>` | where the task is steered ([`Desired`]) | the API |
//! | `event/<task>/<seq>` | a fact of the history; `seq` as 8 bytes, big-endian, so that they sort | the task's driver |
//! | `state/<task>` | the fold of the history, so that a look needs not to fold | the task's driver |
//! | `part/<key>/<number>` | a part of a value beyond 4 KiB ([`values`]); the number as 4 bytes, big-endian | as the value |
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
//! # A full disk
//!
//! sled refuses everything after its first failed write. So the room for the next writes is reserved before they are made
//! ([`room`]); should a write fail all the same, the store is opened again ([`handle`]).
//!
//! Logs and results are files elsewhere: sled keeps values in its page cache, and they are large.

mod damage;
mod error;
mod handle;
mod panics;
mod read;
mod rescue;
mod room;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod threads;
mod transfer;
mod values;
mod watch;

pub use self::damage::{Damage, KnownRuns};
pub use self::error::StoreError;
pub use self::rescue::Rescued;
pub use self::transfer::{Checked, Exported, ImportError};

use self::error::{in_words, open_error};
use self::handle::{Handle, Open};
use self::panics::caught;
use self::room::{Need, Room};
use self::threads::Threads;
use self::watch::Watchers;
use atq_task::event::Record;
use atq_task::machine;
use atq_task::spec::{TaskName, TaskSpec};
use atq_task::state::{Desired, State};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const FORMAT: &str = "1";
/// Tasks are small; a large cache would only make the Director's memory grow.
const CACHE_BYTES: u64 = 256 << 10;
/// A write that takes so long may be one that sled has forgotten; see [`handle`].
const STUCK: Duration = Duration::from_secs(5);

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

/// What is known about a task, without its definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What is known about the run.
    pub state: State,
    /// Where it is steered.
    pub desired: Desired,
}

/// The embedded store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
    room: Room,
    threads: Threads,
    /// Tasks whose creation failed half-way: they count as not there, and are removed once that is possible.
    doubtful: Arc<Mutex<BTreeSet<TaskName>>>,
    /// Held from a look to the write that depends on it.
    looking: Arc<Mutex<()>>,
    /// What [`Store::repair`] found and could not repair: reasons by name.
    damaged: Arc<Mutex<BTreeMap<String, String>>>,
    watchers: Watchers,
    /// Where a driver crashes.
    #[cfg(any(test, feature = "testing"))]
    pub crash: testing::CrashPoint,
}

impl Store {
    /// Opens the store in `dir`, which is created if it is not there. Blocks.
    ///
    /// # Errors
    /// When it is in use, unreadable or of another format.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        caught(|| Self::open_unguarded(dir))
            .unwrap_or_else(|panic| Err(open_error(dir.to_path_buf(), panic)))
    }

    fn open_unguarded(dir: &Path) -> Result<Self, StoreError> {
        let refused = |reason| open_error(dir.to_path_buf(), reason);
        let open = Open::new(dir).map_err(refused)?;
        let store = Self {
            handle: Arc::new(Handle::new(dir, open)),
            room: Room::of(dir),
            threads: Threads::default(),
            doubtful: Arc::default(),
            looking: Arc::default(),
            damaged: Arc::default(),
            watchers: Watchers::default(),
            #[cfg(any(test, feature = "testing"))]
            crash: testing::CrashPoint::default(),
        };
        store.check_format(dir.to_path_buf())?;
        // Whoever cannot even list the tasks cannot go on with the others.
        for key in store.db()?.scan_prefix("spec/").keys() {
            key.map_err(|error| refused(in_words(&error)))?;
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
                "it holds values, but not the number of their format".to_owned(),
            )),
            None => {
                if db.was_recovered() {
                    // sled takes a damaged end for one that was never written.
                    tracing::warn!(
                        "the store in `{}` was there, but nothing is left in it",
                        path.display()
                    );
                }
                db.insert("meta/format", FORMAT)?;
                self.sync()
            }
        }
    }

    /// From now on, calls that wait for the disk have threads of their own: nobody else's work keeps them waiting.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn use_own_threads(&self) -> std::io::Result<()> {
        self.threads.start()
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
        let brief_value = brief_value(spec, spec_value.len())?;
        let seq = first.seq;
        self.writing(Need::Task, move |store| {
            let _looking = store.look();
            if store.db()?.contains_key(spec_key(&name))? {
                return store.load(&name);
            }
            // Of a damaged task without its definition, events might be there.
            let mut batch = store.everything_of(&name)?;
            let db = store.db()?;
            values::put(&db, &mut batch, spec_key(&name).as_bytes(), spec_value)?;
            if let Some(brief) = brief_value {
                values::put(&db, &mut batch, brief_key(&name).as_bytes(), brief)?;
            }
            values::put(&db, &mut batch, &event_key(&name, seq), event)?;
            values::put(&db, &mut batch, state_key(&name).as_bytes(), state)?;
            let written = store.db()?.apply_batch(batch).map_err(StoreError::from);
            if let Err(error) = written.and_then(|_| store.sync()) {
                // Whoever asked is told that nothing is stored, so nothing may be.
                store.doubtful().insert(name);
                return Err(error);
            }
            Ok(None)
        })
        .await
    }

    fn doubtful(&self) -> MutexGuard<'_, BTreeSet<TaskName>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (event, state) = (encode(record)?, encode(state)?);
        let (event_key, state_key) = (event_key(name, record.seq), state_key(name));
        self.writing(Need::Event, move |store| {
            let (db, mut batch) = (store.db()?, sled::Batch::default());
            values::put(&db, &mut batch, &event_key, event)?;
            values::put(&db, &mut batch, state_key.as_bytes(), state)?;
            db.apply_batch(batch)?;
            store.sync()
        })
        .await?;
        self.watchers.wake(name);
        #[cfg(any(test, feature = "testing"))]
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
        self.writing(Need::Event, move |store| {
            let _looking = store.look();
            if !store.db()?.contains_key(&task)? {
                return Ok(None);
            }
            // A wish that cannot be read is replaced by one that can.
            let present: Desired = store.read(&key).ok().flatten().unwrap_or_default();
            let wish = present.max(desired);
            store.db()?.insert(&key, encode(&wish)?)?;
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
        self.writing(Need::Event, move |store| {
            let _looking = store.look();
            store.db()?.apply_batch(store.everything_of(&name)?)?;
            store.sync()?;
            store.forget_damage(&name);
            store.watchers.wake(&name);
            Ok(())
        })
        .await
    }

    /// Forgets a task, but only that run of it and only at its end: another one with the same name may
    /// have taken its place. Whether it was there. Returns when that is on the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn remove_ended(&self, name: &TaskName, run: &str) -> Result<bool, StoreError> {
        let (name, run) = (name.clone(), run.to_owned());
        self.writing(Need::Event, move |store| {
            let _looking = store.look();
            let stored = store.load(&name)?;
            let is_it = |stored: &Stored| stored.state.run == run && stored.state.is_done();
            if !stored.as_ref().is_some_and(is_it) {
                return Ok(false);
            }
            store.db()?.apply_batch(store.everything_of(&name)?)?;
            store.sync()?;
            store.watchers.wake(&name);
            Ok(true)
        })
        .await
    }

    /// Wakes at every event that is added to a task from now on, and when it is forgotten.
    pub fn watch(&self, name: &TaskName) -> tokio::sync::watch::Receiver<()> {
        self.watchers.watch(name)
    }

    fn look(&self) -> MutexGuard<'_, ()> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a value, to see whether the disk would take a new task.
    ///
    /// # Errors
    /// When it would not.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.writing(Need::Task, |store| {
            store.db()?.insert("meta/probe", FORMAT)?;
            store.sync()
        })
        .await
    }

    /// Does work that reads much, away from the threads that serve requests.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn reading<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    {
        let store = self.clone();
        self.threads.run(move || work(&store)).await?
    }

    /// Does work that writes, if there is room for it.
    async fn writing<T, F>(&self, need: Need, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    {
        let mut written = pin!(self.reading(move |store| store.write(need, work)));
        loop {
            match tokio::time::timeout(STUCK, &mut written).await {
                Ok(written) => return written,
                Err(_) => self.handle.wake(),
            }
        }
    }

    fn write<T>(
        &self,
        need: Need,
        work: impl FnOnce(&Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.handle.reopen_if_failed()? {
            tracing::info!("the store is open again");
        }
        self.room.check(need, &*self.handle.log()?)?;
        let done = caught(|| {
            self.remove_doubtful()?;
            work(self)
        });
        let done = done.unwrap_or_else(|panic| Err(StoreError::Io(panic)));
        if let Err(StoreError::Io(reason)) = &done {
            tracing::error!(%reason, "the store failed; it is opened again at the next write");
            self.handle.failed();
        }
        done
    }

    /// Removes what was refused half-way.
    fn remove_doubtful(&self) -> Result<(), StoreError> {
        let doubtful = self.doubtful().clone();
        for name in doubtful {
            let _looking = self.look();
            self.db()?.apply_batch(self.everything_of(&name)?)?;
            self.sync()?;
            self.doubtful().remove(&name);
        }
        Ok(())
    }

    fn db(&self) -> Result<sled::Db, StoreError> {
        self.handle.db()
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let value = values::get(&self.db()?, key.as_bytes())?;
        value.map(|value| decode(key, &value)).transpose()
    }

    /// To the platter, not only to the page cache; see the top of this module.
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

/// What is stored under `brief/`, if it is so much smaller that lists gain by it.
fn brief_value(spec: &TaskSpec, spec_bytes: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let value = encode(&brief(spec.clone()))?;
    Ok((value.len() < spec_bytes / 2).then_some(value))
}

fn records(db: &sled::Db, pairs: sled::Iter) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    for pair in pairs {
        let (key, found) = pair?;
        if let Some(value) = values::whole(db, &key, found)? {
            records.push(decode(&in_text(&key), &value)?);
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

/// A key; of an event, with its number in digits.
fn in_text(key: &[u8]) -> String {
    match key.split_last_chunk::<8>() {
        Some((prefix, seq)) if key.starts_with(b"event/") => format!(
            "{}{}",
            String::from_utf8_lossy(prefix),
            u64::from_be_bytes(*seq)
        ),
        _ => String::from_utf8_lossy(key).into_owned(),
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Io(error.to_string()))
}

/// The parser's own words may quote the value, and definitions hold passwords.
fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Corrupt {
        key: key.to_owned(),
        reason: format!(
            "{} at byte {} of {}",
            match error.classify() {
                serde_json::error::Category::Data => "not what is expected there",
                _ => "not valid JSON",
            },
            error.column(),
            value.len()
        ),
    })
}

#[cfg(test)]
mod tests;
