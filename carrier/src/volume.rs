//! The volume of a bundle on a node: its lock, its completion marker, and clearing it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use atq_bundle_archive::{BundleId, LOCK, MARKER};
use atq_files::{Mode, flush, write_atomic};
use atq_retry::blocking::poll_until;
use serde::{Deserialize, Serialize};

use crate::problem::{Problem, reason};

/// The lock is polled, because a blocking lock has no timeout.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Mode of the lock file: it must be readable for containers of any user.
const LOCK_MODE: u32 = 0o644;

/// The completion marker of a volume, with its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The bundle.
    pub bundle: BundleId,
    /// Key of the split, if there is one.
    pub split: Option<String>,
    /// Number of files.
    pub files: u64,
    /// Total size of the files.
    pub bytes: u64,
}

/// A volume that is locked by this carrier.
#[derive(Debug)]
pub struct Volume {
    root: PathBuf,
    _lock: File,
}

impl Volume {
    /// Waits for the lock of the volume.
    ///
    /// # Errors
    /// When the directory does not exist, or the lock is still held at `until`.
    pub fn lock(root: &Path, until: Instant) -> Result<Self, Problem> {
        let path = root.join(LOCK);
        let cannot = |e: &io::Error| {
            let shown = path.display();
            Problem::permanent(format!("cannot lock `{shown}`: {}", reason(e)))
        };
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(LOCK_MODE)
            .open(&path)
            .map_err(|e| cannot(&e))?;
        let locked = poll_until(until, POLL_INTERVAL, || match lock.try_lock() {
            Ok(()) => Break(Ok(())),
            Err(TryLockError::Error(e)) => Break(Err(cannot(&e))),
            Err(TryLockError::WouldBlock) => Continue(Problem::permanent(
                "another carrier still holds the lock of this bundle's volume on this node",
            )),
        });
        locked.flatten()?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    /// Directory of the content.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Whether the directory has the marker of this bundle and split.
pub fn is_complete(root: &Path, bundle: &BundleId, split: Option<&str>) -> bool {
    let read = || serde_json::from_slice::<Marker>(&fs::read(root.join(MARKER)).ok()?).ok();
    read().is_some_and(|marker| &marker.bundle == bundle && marker.split.as_deref() == split)
}

/// Writes the marker. All other content must have been flushed before.
///
/// # Errors
/// An I/O error.
pub fn write_marker(root: &Path, marker: &Marker) -> io::Result<()> {
    let text = serde_json::to_vec(marker)?;
    // The content is mounted by containers of any user.
    write_atomic(&root.join(MARKER), &text, Mode::Readable)
}

/// Removes everything except the lock, the marker first.
///
/// # Errors
/// An I/O error.
pub fn clear(root: &Path) -> io::Result<()> {
    match fs::remove_file(root.join(MARKER)) {
        Ok(()) => flush(root)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
