//! Reopens sled's database after a failure. After its first failed write sled rejects every write until it is reopened;
//! reads still succeed.
//!
//! When a write fails, sled does not always wake the threads that wait for it; calling `flush` again
//! wakes them.

use super::error::{error_text, is_locked};
use super::panics::catch_panic;
use super::{StoreError, config, disk_space};
use atq_retry::blocking::poll_until;
use parking_lot::Mutex;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Timeout for a failed database to release its lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between attempts to take the lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// An open database.
#[derive(Clone)]
pub(super) struct Open {
    db: sled::Db,
    /// Its log file, for syncing and for reserving disk space.
    file: Arc<File>,
}

impl Open {
    pub(super) fn new(dir: &Path) -> Result<Self, String> {
        prepare_files(dir).map_err(|error| error.to_string())?;
        let opened = catch_panic(|| config(dir).open())?;
        let db = opened.map_err(|error| error_text(&error))?;
        let file = OpenOptions::new().write(true).open(dir.join("db"));
        let file = file.map_err(|error| error.to_string())?;
        Ok(Self {
            db,
            file: file.into(),
        })
    }
}

/// Prepares the files for sled. sled writes a snapshot while it opens and, on a full disk, needs the reserved space for it.
/// It also treats an unfinished snapshot as damage, so this removes one.
fn prepare_files(dir: &Path) -> io::Result<()> {
    let log = match OpenOptions::new().write(true).open(dir.join("db")) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // sled takes the same lock; the files of a running Director stay unchanged.
    if log.try_lock().is_err() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(path)?;
        }
    }
    let released = disk_space::release_reserved(&log);
    // Closing is not enough: a child process that is being started may hold a copy of the descriptor.
    log.unlock()?;
    released
}

#[derive(Clone)]
enum State {
    Usable(Open),
    /// Writes fail, reads may succeed.
    Failed(Open),
    /// The last attempt to open it failed.
    Closed(String),
}

/// The database.
pub(super) struct Handle {
    dir: PathBuf,
    state: Mutex<State>,
    /// True while a thread runs [`Handle::wake`].
    waking: Arc<AtomicBool>,
}

impl Handle {
    pub(super) fn new(dir: &Path, open: Open) -> Self {
        Self {
            dir: dir.to_path_buf(),
            state: Mutex::new(State::Usable(open)),
            waking: Arc::default(),
        }
    }

    pub(super) fn db(&self) -> Result<sled::Db, StoreError> {
        Ok(self.open()?.db)
    }

    /// Syncs to the disk, not only to the page cache.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        open.db.flush()?;
        let synced = open.file.sync_data();
        synced.map_err(|error| StoreError::Io(error.to_string()))
    }

    fn open(&self) -> Result<Open, StoreError> {
        match &*self.state.lock() {
            State::Usable(open) | State::Failed(open) => Ok(open.clone()),
            State::Closed(reason) => Err(StoreError::Io(reason.clone())),
        }
    }

    /// The log file.
    pub(super) fn log(&self) -> Result<Arc<File>, StoreError> {
        Ok(self.open()?.file)
    }

    /// Wakes threads that wait for a failed write. Returns immediately.
    pub(super) fn wake(&self) {
        // The lock is taken only while the database is reopened; then no thread waits for the old one.
        let Some(State::Usable(open) | State::Failed(open)) =
            self.state.try_lock().as_deref().cloned()
        else {
            return;
        };
        if self.waking.swap(true, Ordering::AcqRel) {
            return;
        }
        let waking = Arc::clone(&self.waking);
        // If the disk is merely slow, this call waits as well.
        thread::spawn(move || {
            let _ = catch_panic(|| open.db.flush());
            waking.store(false, Ordering::Release);
        });
    }

    /// Marks the database as failed after a failed write.
    pub(super) fn failed(&self) {
        let mut state = self.state.lock();
        if let State::Usable(open) = &*state {
            *state = State::Failed(open.clone());
        }
    }

    /// Reopens the database if a write has failed, and returns true if it did. Unacknowledged writes may be lost. Blocks.
    ///
    /// # Errors
    /// If it cannot be opened; the next call retries.
    pub(super) fn reopen_if_failed(&self) -> Result<bool, StoreError> {
        let mut state = self.state.lock();
        if matches!(*state, State::Usable(_)) {
            return Ok(false);
        }
        let closed = State::Closed("the store is being reopened".to_owned());
        // The lock is released when the last reading thread has finished.
        let failed = std::mem::replace(&mut *state, closed);
        thread::spawn(move || drop(failed));
        match reopen(&self.dir) {
            Ok(open) => {
                *state = State::Usable(open);
                Ok(true)
            }
            Err(reason) => {
                *state = State::Closed(reason.clone());
                Err(StoreError::Io(reason))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn replace_file(&self, file: File) {
        if let State::Usable(open) = &mut *self.state.lock() {
            open.file = file.into();
        }
    }
}

fn reopen(dir: &Path) -> Result<Open, String> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    let opened = poll_until(deadline, LOCK_POLL_INTERVAL, || match Open::new(dir) {
        Err(reason) if is_locked(&reason) => Continue(reason),
        other => Break(other),
    });
    opened.flatten()
}
