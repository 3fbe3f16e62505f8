//! The volume of a bundle on a node: whose turn it is, whether it is whole, and how it becomes empty.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use atq_bundle_archive::{BundleId, LOCK, MARKER};
use atq_files::{Mode, flush, write_atomic};
use atq_patience::blocking::poll_until;
use serde::{Deserialize, Serialize};

use crate::problem::{Problem, reason};

/// From one look at the lock to the next. A lock that blocks could not be given up.
const PAUSE: Duration = Duration::from_millis(100);
/// The mode of the lock: containers of any user see it.
const READABLE: u32 = 0o644;

/// What a marker says: this volume is whole, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The bundle.
    pub bundle: BundleId,
    /// How it is dealt out, if it is.
    pub split: Option<String>,
    /// Files in it.
    pub files: u64,
    /// Their sizes together.
    pub bytes: u64,
}

/// A volume in which no other carrier is at work.
#[derive(Debug)]
pub struct Volume {
    root: PathBuf,
    _lock: File,
}

impl Volume {
    /// Waits for its turn.
    ///
    /// # Errors
    /// When there is no such directory, or the time is over.
    pub fn lock(root: &Path, until: Instant) -> Result<Self, Problem> {
        let path = root.join(LOCK);
        let cannot = |e: &io::Error| {
            let shown = path.display();
            Problem::lasting(format!("cannot lock `{shown}`: {}", reason(e)))
        };
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(READABLE)
            .open(&path)
            .map_err(|e| cannot(&e))?;
        let locked = poll_until(until, PAUSE, || match lock.try_lock() {
            Ok(()) => Break(Ok(())),
            Err(TryLockError::Error(e)) => Break(Err(cannot(&e))),
            Err(TryLockError::WouldBlock) => Continue(Problem::lasting(
                "another carrier is still at work in this bundle's volume on this node",
            )),
        });
        locked.flatten()?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    /// Where its content lies.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Whether the directory has the marker of this content.
pub fn is_whole(root: &Path, bundle: &BundleId, split: Option<&str>) -> bool {
    let read = || serde_json::from_slice::<Marker>(&fs::read(root.join(MARKER)).ok()?).ok();
    read().is_some_and(|marker| &marker.bundle == bundle && marker.split.as_deref() == split)
}

/// Puts the marker where everything else is on the disk already.
///
/// # Errors
/// What the disk says.
pub fn mark(root: &Path, marker: &Marker) -> io::Result<()> {
    let text = serde_json::to_vec(marker)?;
    // The content is mounted by containers of any user.
    write_atomic(&root.join(MARKER), &text, Mode::Readable)
}

/// Removes what is there, the marker first, but for the lock.
///
/// # Errors
/// What the disk says.
pub fn empty(root: &Path) -> io::Result<()> {
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

/// Bytes that are free where `path` lies.
///
/// # Errors
/// What the disk says.
pub fn free(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bfree.saturating_mul(stat.f_frsize))
}
