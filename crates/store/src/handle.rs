//! sled's database, opened again when it has failed. After its first failed write sled refuses everything, for as long as
//! it is open; reads may go on meanwhile, as it knows what it had.
//!
//! A thread that waits for a write is not always woken when that fails: sled's own error handling forgets it in one
//! place. Another call of `flush` wakes it.

use super::error::{in_words, is_locked};
use super::panics::caught;
use super::{StoreError, config, room};
use atq_patience::blocking::poll_until;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a failed database may take to give its lock back.
const CLOSING: Duration = Duration::from_secs(5);
/// Time between two tries to get the lock.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// An open database.
#[derive(Clone)]
pub(super) struct Open {
    db: sled::Db,
    /// Its log, to be synced, and to reserve room for.
    file: Arc<File>,
}

impl Open {
    pub(super) fn new(dir: &Path) -> Result<Self, String> {
        make_way(dir).map_err(|error| error.to_string())?;
        let opened = caught(|| config(dir).open())?;
        let db = opened.map_err(|error| in_words(&error))?;
        let file = OpenOptions::new().write(true).open(dir.join("db"));
        let file = file.map_err(|error| error.to_string())?;
        Ok(Self {
            db,
            file: file.into(),
        })
    }
}

/// sled writes a short cut to the end of its log while it opens. On a full disk it needs what the log has reserved; and
/// one that was not finished, for example because the disk was full, it takes for damage.
fn make_way(dir: &Path) -> io::Result<()> {
    let log = match OpenOptions::new().write(true).open(dir.join("db")) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // The lock that sled takes as well: the files of another Director stay as they are.
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
    let given_back = room::give_back(&log);
    // A process that is being started at this moment has a copy of the descriptor: closing would not be enough.
    log.unlock()?;
    given_back
}

#[derive(Clone)]
enum State {
    Usable(Open),
    /// Writes fail, reads may succeed.
    Failed(Open),
    /// The last try to open it failed.
    Closed(String),
}

/// The database.
pub(super) struct Handle {
    dir: PathBuf,
    state: Mutex<State>,
    /// Whether a thread is waking others.
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

    /// To the platter, not only to the page cache.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        open.db.flush()?;
        let synced = open.file.sync_data();
        synced.map_err(|error| StoreError::Io(error.to_string()))
    }

    fn open(&self) -> Result<Open, StoreError> {
        match &*self.lock() {
            State::Usable(open) | State::Failed(open) => Ok(open.clone()),
            State::Closed(reason) => Err(StoreError::Io(reason.clone())),
        }
    }

    /// Its log.
    pub(super) fn log(&self) -> Result<Arc<File>, StoreError> {
        Ok(self.open()?.file)
    }

    /// Wakes threads that wait for a write that has failed. Returns at once.
    pub(super) fn wake(&self) {
        // Locked only while it is being opened again: then nobody waits for the old one.
        let Ok(State::Usable(open) | State::Failed(open)) =
            self.state.try_lock().as_deref().cloned()
        else {
            return;
        };
        if self.waking.swap(true, Ordering::AcqRel) {
            return;
        }
        let waking = Arc::clone(&self.waking);
        // On a disk that is only slow this waits as well.
        thread::spawn(move || {
            let _ = caught(|| open.db.flush());
            waking.store(false, Ordering::Release);
        });
    }

    /// A write has failed.
    pub(super) fn failed(&self) {
        let mut state = self.lock();
        if let State::Usable(open) = &*state {
            *state = State::Failed(open.clone());
        }
    }

    /// Opens the database again if a write has failed; whether it had to. What was not acknowledged may be lost. Blocks.
    ///
    /// # Errors
    /// When it cannot be opened; the next call tries again.
    pub(super) fn reopen_if_failed(&self) -> Result<bool, StoreError> {
        let mut state = self.lock();
        if matches!(*state, State::Usable(_)) {
            return Ok(false);
        }
        let closed = State::Closed("it is being opened again".to_owned());
        // Its lock is given back when the last thread that reads from it is done.
        let failed = std::mem::replace(&mut *state, closed);
        thread::spawn(move || drop(failed));
        match reopened(&self.dir) {
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn replace_file(&self, file: File) {
        if let State::Usable(open) = &mut *self.lock() {
            open.file = file.into();
        }
    }
}

fn reopened(dir: &Path) -> Result<Open, String> {
    let deadline = Instant::now() + CLOSING;
    let opened = poll_until(deadline, LOCK_POLL, || match Open::new(dir) {
        Err(reason) if is_locked(&reason) => Continue(reason),
        other => Break(other),
    });
    opened.flatten()
}
