//! The room on a disk, looked at before much is written. A disk that is full to its last byte stops everything that is
//! written there, so uploads and results leave a part of it free.

use rustix::fs::statvfs;
use std::io;
use std::path::Path;

const MIB: u64 = 1 << 20;

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
    let Ok(found) = statvfs(directory) else {
        return Ok(());
    };
    let total = found.f_blocks.saturating_mul(found.f_frsize);
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    enough(free, bytes.saturating_add(content.reserve(total)))
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

#[cfg(test)]
pub(crate) mod tests;
