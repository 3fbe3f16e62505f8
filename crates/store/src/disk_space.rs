//! Checks and reserves disk space. sled cannot continue after a failed write, so the blocks for its next writes are
//! reserved in advance. Running tasks are then recorded even on a full disk, and new ones are refused before anything
//! is acknowledged.

use super::StoreError;
use atq_files::disk::Space;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// The kind of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteKind {
    /// A new task: its run will write events, logs and results.
    Task,
    /// An event or a desired state of an existing task, which must be able to finish even when new ones are refused.
    Event,
}

impl WriteKind {
    /// Bytes to reserve at the end of the log on a disk of `total` bytes; less on a small disk. A
    /// definition of 1 MB takes 5 MB of the log.
    fn reserve(self, total: u64) -> u64 {
        match self {
            Self::Task => (total / 4).min(16 * MIB),
            Self::Event => (total / 16).min(4 * MIB),
        }
    }

    /// Bytes that must be free in addition.
    fn free(self, total: u64) -> u64 {
        match self {
            Self::Task => (total / 8).min(64 * MIB),
            Self::Event => 0,
        }
    }
}

/// The disk that holds a directory. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<PathBuf>);

impl Disk {
    pub(super) fn of(dir: &Path) -> Self {
        Self(Arc::new(dir.to_path_buf()))
    }

    /// Checks the free space and reserves space for `log`. If the free space is unknown, it is assumed to be
    /// sufficient.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub(super) fn check(&self, kind: WriteKind, log: &File) -> Result<(), StoreError> {
        let Some(disk) = Space::of(&self.0) else {
            return Ok(());
        };
        enough(disk, kind.free(disk.total))?;
        reserve(log, disk, kind.reserve(disk.total))
    }
}

fn enough(disk: Space, needed: u64) -> Result<(), StoreError> {
    match disk.free < needed {
        true => Err(StoreError::Full {
            free: disk.free,
            needed,
        }),
        false => Ok(()),
    }
}

/// Reserves `bytes` for the end of `log`. Its length stays unchanged.
fn reserve(log: &File, disk: Space, bytes: u64) -> Result<(), StoreError> {
    let length = log.metadata().map(|found| found.len());
    let length = length.map_err(|error| StoreError::Io(error.to_string()))?;
    match fallocate(log, FallocateFlags::KEEP_SIZE, length, bytes.max(1)) {
        Ok(()) => Ok(()),
        Err(Errno::NOSPC | Errno::DQUOT) => Err(StoreError::Full {
            free: disk.free,
            needed: bytes,
        }),
        // Not every file system supports reservations; without them the free space must suffice.
        Err(_) => enough(disk, bytes),
    }
}

/// Releases the reserved space of `log`; nothing may be writing to it.
pub(super) fn release_reserved(log: &File) -> io::Result<()> {
    let length = log.metadata()?.len();
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // Depending on the file system, only one of the two calls releases the space.
    let _ = fallocate(log, hole, length, WriteKind::Task.reserve(u64::MAX));
    log.set_len(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn new_tasks_are_refused_before_running_ones_are_affected() {
        let total = 100 << 30;
        let disk = |free| Space { total, free };
        let [task, event] = [WriteKind::Task, WriteKind::Event].map(|kind| kind.free(total));
        assert!(enough(disk(65 * MIB), task).is_ok());
        assert!(enough(disk(63 * MIB), task).is_err());
        assert!(enough(disk(0), event).is_ok());
        assert!(WriteKind::Task.reserve(total) > WriteKind::Event.reserve(total));
    }

    #[test]
    fn a_small_disk_and_one_of_unknown_size_can_be_used() {
        for total in [0, 16 * MIB] {
            let needed = WriteKind::Task.free(total) + WriteKind::Task.reserve(total);
            assert!(needed <= total / 2);
        }
    }

    #[test]
    fn the_log_keeps_its_length_and_gets_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        log.set_len(100).unwrap();
        Disk::of(dir.path()).check(WriteKind::Event, &log).unwrap();
        let found = log.metadata().unwrap();
        assert_eq!(found.len(), 100);
        assert!(found.blocks() > 0, "nothing is reserved");
    }
}
