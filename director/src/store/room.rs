//! Whether there is room on the disk. sled cannot go on after a failed write, so it is not let run into a full disk; and
//! what is refused is refused before anything was promised.

use super::StoreError;
use rustix::fs::statvfs;
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
    /// Bytes that must be free on a disk of `total` bytes: small disks are used, too.
    fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Task => (total / 8).min(16 * MIB),
            Self::Event => (total / 32).min(4 * MIB),
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

    /// Whether there is room. A disk that does not say how full it is counts as one with room.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub(super) fn check(&self, need: Need) -> Result<(), StoreError> {
        match statvfs(self.0.as_path()) {
            Ok(disk) => enough(
                need,
                disk.f_blocks.saturating_mul(disk.f_frsize),
                disk.f_bavail.saturating_mul(disk.f_frsize),
            ),
            Err(_) => Ok(()),
        }
    }
}

fn enough(need: Need, total: u64, free: u64) -> Result<(), StoreError> {
    let needed = need.bytes(total);
    match free < needed {
        true => Err(StoreError::Full { free, needed }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tasks_are_refused_before_those_that_run_have_to_wait() {
        let total = 100 << 30;
        assert!(enough(Need::Task, total, 17 * MIB).is_ok());
        assert!(enough(Need::Task, total, 15 * MIB).is_err());
        assert!(enough(Need::Event, total, 5 * MIB).is_ok());
        assert!(enough(Need::Event, total, 3 * MIB).is_err());
    }

    #[test]
    fn a_small_disk_and_one_without_a_size_can_be_used() {
        assert!(enough(Need::Task, 16 * MIB, 3 * MIB).is_ok());
        assert!(enough(Need::Task, 0, 0).is_ok());
    }
}
