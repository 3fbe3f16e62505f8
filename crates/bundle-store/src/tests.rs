#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

mod refused;
mod uploads;

/// A store in a new directory. The directory must be declared first, so that it is removed last.
fn store(limits: Limits) -> (TempDir, BundleStore) {
    let root = tempfile::tempdir().unwrap();
    let store = BundleStore::open(root.path(), limits).unwrap();
    (root, store)
}

async fn upload(store: &BundleStore, zip: &[u8]) -> Result<Uploaded, BundleError> {
    let mut incoming = store.begin().await?;
    for chunk in zip.chunks(64 * 1024) {
        incoming.write(chunk).await?;
    }
    incoming.finish("bundle.zip").await
}

/// Everything below `root` as sorted relative paths, without the store's own directories.
fn everything(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    atq_files::walk(root, |path, _| {
        paths.push(
            path.strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
        );
        Ok(())
    })
    .unwrap();
    paths.retain(|path| ![".incoming", ".meta", ".zips"].contains(&path.as_str()));
    paths.sort();
    paths
}

/// Uploads an archive that must be refused, checks that nothing remains, and returns the error.
async fn refused(zip: &[u8], limits: Limits) -> BundleError {
    let (root, store) = store(limits);
    let error = upload(&store, zip).await.unwrap_err();
    assert_eq!(everything(root.path()), Vec::<String>::new(), "{error}");
    error
}
