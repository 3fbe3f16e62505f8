//! Walking a tree, and flushing it to the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Up to this many files are flushed individually; for more, a single flush of the whole file system is faster.
const MAX_INDIVIDUAL_FLUSHES: u64 = 32;

/// Flushes the tree below `root`, which holds `files` files, to the disk.
///
/// # Errors
/// An I/O error.
pub fn flush_tree(root: &Path, files: u64) -> io::Result<()> {
    if files > MAX_INDIVIDUAL_FLUSHES {
        rustix::fs::syncfs(File::open(root)?)?;
        return Ok(());
    }
    // A link is flushed with its directory; its target is outside the tree.
    walk(root, |path, metadata| match metadata.is_symlink() {
        true => Ok(()),
        false => flush(path),
    })?;
    flush(root)
}

/// Flushes one file or directory; for a directory, that makes renames within it permanent.
///
/// # Errors
/// An I/O error.
pub fn flush(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Calls `visit` for each entry below `root`, in no particular order. Symbolic links are not followed.
///
/// # Errors
/// An I/O error, or an error of `visit`.
pub fn walk(
    root: &Path,
    mut visit: impl FnMut(&Path, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    let mut pending: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let path = entry.path();
            visit(&path, &metadata)?;
            if metadata.is_dir() {
                pending.push(path);
            }
        }
    }
    Ok(())
}
