//! Index of the volumes of each bundle and of the nodes that may have them. An entry is written before the first volume
//! is created, so that a crash leaves no volume without an entry.
//!
//! ```text
//! <datadir>/volumes/<bundle>.json
//! ```

use atq_files::{Mode, if_there, write_atomic};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// Volumes that may exist of one bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IndexedVolumes {
    /// Names of the volumes.
    pub volumes: BTreeSet<String>,
    /// Host names of the nodes, by node id.
    pub nodes: BTreeMap<String, String>,
    /// Whether they are to be removed.
    pub removing: bool,
}

/// The index of all bundles.
#[derive(Debug)]
pub struct VolumeIndex {
    dir: PathBuf,
    writing: Mutex<()>,
    /// Locked while volumes are removed: two concurrent removals would block each other with their containers.
    pub(crate) removing: Arc<Mutex<()>>,
}

impl VolumeIndex {
    /// The index below `datadir`. Does not access the disk.
    pub fn new(datadir: &Path) -> Self {
        Self {
            dir: datadir.join("volumes"),
            writing: Mutex::default(),
            removing: Arc::default(),
        }
    }

    /// Adds volumes and nodes to the entry of a bundle, before the volumes are created.
    ///
    /// # Errors
    /// When the entry cannot be written.
    pub async fn add(
        &self,
        bundle: &str,
        volumes: impl IntoIterator<Item = String>,
        nodes: impl IntoIterator<Item = (String, String)>,
    ) -> io::Result<()> {
        self.change(bundle, |entry| {
            entry.volumes.extend(volumes);
            entry.nodes.extend(nodes);
            entry.removing = false;
        })
        .await
    }

    /// Changes the entry of a bundle. An entry without nodes is removed.
    ///
    /// # Errors
    /// When the entry cannot be written.
    pub async fn change(
        &self,
        bundle: &str,
        change: impl FnOnce(&mut IndexedVolumes),
    ) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        let before = self.get(bundle).await?;
        let mut entry = before.clone().unwrap_or_default();
        change(&mut entry);
        if before.as_ref() == Some(&entry) {
            return Ok(());
        }
        let path = self.path(bundle);
        spawn_blocking(move || match entry.nodes.is_empty() {
            true => if_there(fs::remove_file(path)).map(drop),
            false => write(&path, &entry),
        })
        .await
        .map_err(io::Error::other)?
    }

    /// The entry of a bundle.
    ///
    /// # Errors
    /// When the entry cannot be read.
    pub async fn get(&self, bundle: &str) -> io::Result<Option<IndexedVolumes>> {
        let text = if_there(tokio::fs::read(self.path(bundle)).await)?;
        let entry = text.map(|text| serde_json::from_slice(&text));
        Ok(entry.transpose()?)
    }

    /// The ids of all bundles with an entry.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn bundles(&self) -> io::Result<Vec<String>> {
        let Some(mut entries) = if_there(tokio::fs::read_dir(&self.dir).await)? else {
            return Ok(Vec::new());
        };
        let mut bundles = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let bundle = name.to_str().and_then(|name| name.strip_suffix(".json"));
            bundles.extend(bundle.map(str::to_owned));
        }
        bundles.sort();
        Ok(bundles)
    }

    fn path(&self, bundle: &str) -> PathBuf {
        self.dir.join(format!("{bundle}.json"))
    }
}

fn write(path: &Path, entry: &IndexedVolumes) -> io::Result<()> {
    write_atomic(path, &serde_json::to_vec_pretty(entry)?, Mode::Private)
}
