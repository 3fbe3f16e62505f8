//! Directories below `.incoming`: ours while we hold their lock, rubbish when nobody does.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that disappears with this value, or at the next sweep.
#[derive(Debug)]
pub(super) struct Workdir {
    directory: TempDir,
    _lock: File,
}

impl Workdir {
    pub(super) fn create(incoming: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("").tempdir_in(incoming)?;
        let lock = File::open(directory.path())?;
        match lock.try_lock() {
            // A file system without locks has no sweep to fear from elsewhere either, or has to live with it.
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
        }
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Removes what a crash left below `incoming`. A directory that is locked belongs to a process that lives.
pub(super) fn sweep(incoming: &Path) -> io::Result<()> {
    for entry in fs::read_dir(incoming)? {
        let path = entry?.path();
        if path.is_dir() {
            if !in_use(&path)? {
                fs::remove_dir_all(path)?;
            }
        } else {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn in_use(directory: &Path) -> io::Result<bool> {
    let lock = File::open(directory)?;
    Ok(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}
