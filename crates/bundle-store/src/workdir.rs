//! Directories below `.incoming`. Each is locked while in use; unlocked ones are remains of a crash.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that is removed on drop, or by the next sweep.
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
            // A file system without locks offers no protection from another Director's sweep.
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

/// Removes the remains of crashes below `incoming`. A locked directory belongs to a running process.
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
