//! Checks of the free space before large writes. A completely full disk blocks every writer, so uploads and results leave
//! a reserve.

use rustix::fs::statvfs;
use std::io;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Size and free space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Total size.
    pub total: u64,
    /// Space that is available to unprivileged programs.
    pub free: u64,
}

impl Space {
    /// The space of the file system of `path`; `None` when it does not report it.
    pub fn of(path: &Path) -> Option<Self> {
        let found = statvfs(path).ok()?;
        Some(Self {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }
}

/// Kind of the content to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An upload. It must leave space for the tasks that use it.
    Upload,
    /// Results of an accepted run: they may use more of the disk.
    Results,
}

impl Content {
    /// Bytes that stay free on a disk of `total` bytes. Scaled down on small disks, so that they remain usable.
    fn reserve(self, total: u64) -> u64 {
        match self {
            Self::Upload => (total / 8 * 3).min(128 * MIB),
            Self::Results => (total / 16).min(16 * MIB),
        }
    }
}

/// Checks that `bytes` can be written below `directory`. A disk that does not report its free space passes the check.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`], with the free and the needed space.
pub fn check(directory: &Path, bytes: u64, content: Content) -> io::Result<()> {
    match Space::of(directory) {
        Some(Space { total, free }) => {
            check_free(free, bytes.saturating_add(content.reserve(total)))
        }
        None => Ok(()),
    }
}

fn check_free(free: u64, needed: u64) -> io::Result<()> {
    match free < needed {
        true => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "the disk is full: {} MiB are free, {} MiB are needed",
                free / MIB,
                needed.div_ceil(MIB)
            ),
        )),
        false => Ok(()),
    }
}

#[cfg(any(test, feature = "testing"))]
mod small_disk;
#[cfg(any(test, feature = "testing"))]
pub use small_disk::SmallDisk;

#[cfg(test)]
mod tests;
