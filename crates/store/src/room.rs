//! Whether there is room on the disk. sled cannot go on after a failed write, so it is not let run into a full disk: the
//! blocks that it will write next are its own beforehand. Like that the tasks that run are recorded also while the
//! disk is full, and what is refused is refused before anything was promised.

use super::StoreError;
use atq_files::disk::Space;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A new task: its run will write events, logs and results.
    Task,
    /// An event or a wish of a task that is there: it must come to its end even when new ones are refused.
    Event,
}

impl Need {
    /// Bytes that the store's log must be able to grow by on a disk of `total` bytes: small disks are used, too. A
    /// definition of a megabyte takes five of the log.
    fn reserve(self, total: u64) -> u64 {
        match self {
            Self::Task => (total / 4).min(16 * MIB),
            Self::Event => (total / 16).min(4 * MIB),
        }
    }

    /// Bytes that must be free besides.
    fn free(self, total: u64) -> u64 {
        match self {
            Self::Task => (total / 8).min(64 * MIB),
            Self::Event => 0,
        }
    }
}

/// The disk of a directory. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<PathBuf>);

impl Room {
    pub(super) fn of(dir: &Path) -> Self {
        Self(Arc::new(dir.to_path_buf()))
    }

    /// Makes sure that there is room, in `log` and besides. A disk that does not say how full it is counts as one with
    /// room.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub(super) fn check(&self, need: Need, log: &File) -> Result<(), StoreError> {
        let Some(disk) = Space::of(&self.0) else {
            return Ok(());
        };
        enough(disk, need.free(disk.total))?;
        reserve(log, disk, need.reserve(disk.total))
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

/// Takes `bytes` of the disk for the end of `log`, unless it has them already. Its length stays.
fn reserve(log: &File, disk: Space, bytes: u64) -> Result<(), StoreError> {
    let length = log.metadata().map(|found| found.len());
    let length = length.map_err(|error| StoreError::Io(error.to_string()))?;
    match fallocate(log, FallocateFlags::KEEP_SIZE, length, bytes.max(1)) {
        Ok(()) => Ok(()),
        Err(Errno::NOSPC | Errno::DQUOT) => Err(StoreError::Full {
            free: disk.free,
            needed: bytes,
        }),
        // Some file systems cannot reserve: then what is free has to do.
        Err(_) => enough(disk, bytes),
    }
}

/// Gives back to the disk what `log`, to which nobody writes, has reserved.
pub(super) fn give_back(log: &File) -> io::Result<()> {
    let length = log.metadata()?.len();
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // Some file systems do it for the one, some for the other.
    let _ = fallocate(log, hole, length, Need::Task.reserve(u64::MAX));
    log.set_len(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn new_tasks_are_refused_before_those_that_run_have_to_wait() {
        let total = 100 << 30;
        let disk = |free| Space { total, free };
        let [task, event] = [Need::Task, Need::Event].map(|need| need.free(total));
        assert!(enough(disk(65 * MIB), task).is_ok());
        assert!(enough(disk(63 * MIB), task).is_err());
        assert!(enough(disk(0), event).is_ok());
        assert!(Need::Task.reserve(total) > Need::Event.reserve(total));
    }

    #[test]
    fn a_small_disk_and_one_without_a_size_can_be_used() {
        for total in [0, 16 * MIB] {
            let needed = Need::Task.free(total) + Need::Task.reserve(total);
            assert!(needed <= total / 2);
        }
    }

    #[test]
    fn the_log_keeps_its_length_and_gets_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        log.set_len(100).unwrap();
        Room::of(dir.path()).check(Need::Event, &log).unwrap();
        let found = log.metadata().unwrap();
        assert_eq!(found.len(), 100);
        assert!(found.blocks() > 0, "nothing is reserved");
    }
}
