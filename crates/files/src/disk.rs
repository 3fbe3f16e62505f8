//! The room on a disk, looked at before much is written. A disk that is full to its last byte stops everything that is
//! written there, so uploads and results leave a part of it free.

use rustix::fs::statvfs;
use std::io;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// How full a file system is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total: u64,
    /// What a program without privileges may still write.
    pub free: u64,
}

impl Space {
    /// That of the file system of `path`; `None` when it does not report it.
    pub fn of(path: &Path) -> Option<Self> {
        let found = statvfs(path).ok()?;
        Some(Self {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An upload. After it there must be room for the tasks that use it.
    Upload,
    /// Results of a run that was accepted: they may use more of the disk.
    Results,
}

impl Content {
    /// Bytes that stay free on a disk of `total` bytes: small disks are used, too.
    fn reserve(self, total: u64) -> u64 {
        match self {
            Self::Upload => (total / 8 * 3).min(128 * MIB),
            Self::Results => (total / 16).min(16 * MIB),
        }
    }
}

/// Makes sure that `bytes` can be written below `directory`. A disk that does not report its room counts as one with room.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`], with what is free and what is needed.
pub fn check(directory: &Path, bytes: u64, content: Content) -> io::Result<()> {
    match Space::of(directory) {
        Some(Space { total, free }) => enough(free, bytes.saturating_add(content.reserve(total))),
        None => Ok(()),
    }
}

fn enough(free: u64, needed: u64) -> io::Result<()> {
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
mod small;
#[cfg(any(test, feature = "testing"))]
pub use small::SmallDisk;

#[cfg(test)]
mod tests;
