//! Walking a tree, and flushing it to the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Up to this many files are flushed one by one; beyond it, flushing the whole file system once is quicker.
const FLUSHED_ONE_BY_ONE: u64 = 32;

/// Flushes the tree below `root`, which holds `files` files, to the disk.
///
/// # Errors
/// What the operating system said.
pub fn flush_tree(root: &Path, files: u64) -> io::Result<()> {
    if files > FLUSHED_ONE_BY_ONE {
        rustix::fs::syncfs(File::open(root)?)?;
        return Ok(());
    }
    // A link is flushed with its directory; what it points to is not ours.
    walk(root, |path, metadata| match metadata.is_symlink() {
        true => Ok(()),
        false => flush(path),
    })?;
    flush(root)
}

/// Flushes one file or directory; for a directory, that makes renames within it permanent.
///
/// # Errors
/// What the operating system said.
pub fn flush(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Calls `visit` with everything below `root`, links unfollowed, in no particular order.
///
/// # Errors
/// What the operating system said, or `visit`.
pub fn walk(
    root: &Path,
    mut visit: impl FnMut(&Path, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    let mut waiting: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let path = entry.path();
            visit(&path, &metadata)?;
            if metadata.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(())
}
