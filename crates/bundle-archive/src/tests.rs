#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;

mod hostile;
mod names;

fn unpack_into(zip: &[u8], limits: Limits, root: &Path) -> Result<Totals, BundleError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(zip).unwrap();
    let file = Arc::new(file);
    let totals = scan(&file, &limits)?;
    unpack(&file, root).map(|()| totals)
}

/// Unpacks an archive into a new directory.
fn unpacked(zip: &[u8], limits: Limits) -> Result<(TempDir, Totals), BundleError> {
    let root = tempfile::tempdir().unwrap();
    unpack_into(zip, limits, root.path()).map(|totals| (root, totals))
}

fn refused(zip: &[u8], limits: Limits) -> BundleError {
    unpacked(zip, limits).unwrap_err()
}

/// Everything below `root` as sorted relative paths.
fn everything(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    atq_files::walk(root, |path, _| {
        let below = path.strip_prefix(root).unwrap();
        paths.push(below.to_str().unwrap().to_owned());
        Ok(())
    })
    .unwrap();
    paths.sort();
    paths
}
