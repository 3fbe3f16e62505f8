//! sled's database, opened again when it has failed. After its first failed write sled refuses everything, for as long as
//! it is open; reads may go on meanwhile, as it knows what it had.

use super::error::in_words;
use super::panics::caught;
use super::{StoreError, config};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An open database.
#[derive(Clone)]
pub(super) struct Open {
    db: sled::Db,
    /// Its log, to be synced.
    file: std::sync::Arc<File>,
}

impl Open {
    pub(super) fn new(dir: &Path) -> Result<Self, String> {
        let opened = caught(|| config(dir).open())?;
        let db = opened.map_err(|error| in_words(&error))?;
        let file = File::open(dir.join("db")).map_err(|error| error.to_string())?;
        Ok(Self {
            db,
            file: file.into(),
        })
    }
}

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
}

impl Handle {
    pub(super) fn new(dir: &Path, open: Open) -> Self {
        Self {
            dir: dir.to_path_buf(),
            state: Mutex::new(State::Usable(open)),
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
        if let State::Failed(open) = std::mem::replace(&mut *state, closed) {
            // Never closed: closing waits for ever for a write that never ends, and with it all other writes of the
            // process. The room that is kept on the disk makes this rare.
            std::mem::forget(open);
        }
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

/// The lock of a database that is never closed stays with its file: a copy has none.
fn reopened(dir: &Path) -> Result<Open, String> {
    own_copy(dir).map_err(|error| error.to_string())?;
    Open::new(dir)
}

fn own_copy(dir: &Path) -> io::Result<()> {
    let (log, copy) = (dir.join("db"), dir.join("db.copy"));
    fs::copy(&log, &copy)?;
    File::open(&copy)?.sync_all()?;
    fs::rename(copy, log)
}
