//! Recovers the readable part of a store that cannot be opened. Besides the log `db`, which holds all data, sled has
//! two small files: `conf` with its settings, identical in all stores of the Director, and `snap.*`, a snapshot of the
//! log's index. sled fails to open if any of the three is damaged. A copy of the log with new settings and without the
//! snapshot can often be opened: sled then reads it from its beginning up to the first damage.

use super::error::open_error;
use super::{Store, StoreError, config};
use std::fs;
use std::io;
use std::path::Path;
use tempfile::TempDir;

/// An open copy of a store; the copy is removed on drop.
pub struct Rescued {
    /// The tasks that could be read.
    pub store: Store,
    /// Removed after the store is closed.
    _copy: TempDir,
}

impl Rescued {
    /// Opens a copy of the log in `dir`, created in the parent directory. The store itself is not changed. Blocks.
    ///
    /// # Errors
    /// If there is not enough disk space for the copy, or if nothing of the log can be read.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let refused = |error: io::Error| open_error(dir.to_path_buf(), error.to_string());
        let beside = dir.parent().unwrap_or(dir);
        let copy = tempfile::Builder::new()
            .prefix(".rescue-")
            .tempdir_in(beside)
            .map_err(refused)?;
        let log = copy.path().join("log");
        settings(copy.path(), &log)
            .and_then(|()| copy_log(dir, &log))
            .map_err(refused)?;
        Ok(Self {
            store: Store::open(&log)?,
            _copy: copy,
        })
    }
}

/// Copies the settings of a new store into `log`.
fn settings(copy: &Path, log: &Path) -> io::Result<()> {
    let new = copy.join("new");
    drop(config(&new).open().map_err(io::Error::other)?);
    fs::create_dir(log)?;
    fs::copy(new.join("conf"), log.join("conf"))?;
    Ok(())
}

fn copy_log(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from.join("db"), to.join("db"))?;
    let blobs = from.join("blobs");
    if blobs.is_dir() {
        fs::create_dir(to.join("blobs"))?;
        for blob in fs::read_dir(blobs)? {
            let blob = blob?;
            fs::copy(blob.path(), to.join("blobs").join(blob.file_name()))?;
        }
    }
    Ok(())
}
