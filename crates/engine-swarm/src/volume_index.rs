//! Index of volumes and of the nodes that may have them: one of the volumes of bundles, one of the result volumes of runs.
//! An entry is written before the first volume is created, so that a crash leaves no volume without an entry.
//!
//! ```text
//! <datadir>/volumes/<bundle>.json
//! <datadir>/run-volumes/<run>-<task>.json
//! ```

use crate::plan::Labels;
use atq_files::{Mode, if_there, write_atomic};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// Volumes that may exist of one bundle or run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IndexedVolumes {
    /// Names of the volumes, as far as they are known in advance.
    pub volumes: BTreeSet<String>,
    /// Labels of the other volumes; without labels, there are none.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The services whose containers create the volumes, with their numbers of containers; empty for bundles.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, u32>,
    /// Host names of the nodes, by node id.
    pub nodes: BTreeMap<String, String>,
    /// Whether they are to be removed.
    pub removing: bool,
}

/// An index. Its keys are ids of bundles, or the [`run_key`] of runs.
#[derive(Debug)]
pub struct VolumeIndex {
    dir: PathBuf,
    writing: Mutex<()>,
    /// Locked while volumes are removed: two concurrent removals would block each other with their containers.
    pub(crate) removing: Arc<Mutex<()>>,
}

impl VolumeIndex {
    /// The index of bundles below `datadir`. Does not access the disk.
    pub fn of_bundles(datadir: &Path) -> Self {
        Self::at(datadir.join("volumes"))
    }

    /// The index of runs below `datadir`. Does not access the disk.
    pub fn of_runs(datadir: &Path) -> Self {
        Self::at(datadir.join("run-volumes"))
    }

    fn at(dir: PathBuf) -> Self {
        Self {
            dir,
            writing: Mutex::default(),
            removing: Arc::default(),
        }
    }

    /// Adds volumes and nodes to an entry, before the volumes are created.
    ///
    /// # Errors
    /// When the entry cannot be written.
    pub async fn add(
        &self,
        key: &str,
        volumes: impl IntoIterator<Item = String>,
        nodes: impl IntoIterator<Item = (String, String)>,
    ) -> io::Result<()> {
        self.change(key, |entry| {
            entry.volumes.extend(volumes);
            entry.nodes.extend(nodes);
            entry.removing = false;
        })
        .await
    }

    /// Changes an entry. An entry without nodes is removed.
    ///
    /// # Errors
    /// When the entry cannot be written.
    pub async fn change(
        &self,
        key: &str,
        change: impl FnOnce(&mut IndexedVolumes),
    ) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        let before = self.get(key).await?;
        let mut entry = before.clone().unwrap_or_default();
        change(&mut entry);
        if before.as_ref() == Some(&entry) {
            return Ok(());
        }
        let path = self.path(key);
        spawn_blocking(move || match entry.nodes.is_empty() {
            true => if_there(fs::remove_file(path)).map(drop),
            false => write(&path, &entry),
        })
        .await
        .map_err(io::Error::other)?
    }

    /// An entry.
    ///
    /// # Errors
    /// When the entry cannot be read.
    pub async fn get(&self, key: &str) -> io::Result<Option<IndexedVolumes>> {
        let text = if_there(tokio::fs::read(self.path(key)).await)?;
        let entry = text.map(|text| serde_json::from_slice(&text));
        Ok(entry.transpose()?)
    }

    /// The keys of all entries.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn keys(&self) -> io::Result<Vec<String>> {
        let Some(mut entries) = if_there(tokio::fs::read_dir(&self.dir).await)? else {
            return Ok(Vec::new());
        };
        let mut keys = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let key = name.to_str().and_then(|name| name.strip_suffix(".json"));
            keys.extend(key.map(str::to_owned));
        }
        keys.sort();
        Ok(keys)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.json"))
    }
}

/// The key of a run. Runs of two tasks may have the same suffix.
///
/// # Errors
/// When a name cannot be part of a file's name; labels of Docker's objects may have any text.
pub fn run_key(task: &str, run: &str) -> io::Result<String> {
    let fits = |text: &str| {
        let mut bytes = text.bytes();
        !text.is_empty()
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    match fits(task) && fits(run) && !run.starts_with('.') {
        true => Ok(format!("{run}-{task}")),
        false => Err(io::Error::other(format!(
            "the labels of a run have the names `{}` and `{}`",
            task.escape_debug(),
            run.escape_debug()
        ))),
    }
}

fn write(path: &Path, entry: &IndexedVolumes) -> io::Result<()> {
    write_atomic(path, &serde_json::to_vec_pretty(entry)?, Mode::Private)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn index() -> (tempfile::TempDir, VolumeIndex, VolumeIndex) {
        let home = tempfile::tempdir().unwrap();
        let bundles = VolumeIndex::of_bundles(home.path());
        let runs = VolumeIndex::of_runs(home.path());
        (home, bundles, runs)
    }

    fn node() -> [(String, String); 1] {
        [("n2".to_owned(), "host-2".to_owned())]
    }

    #[tokio::test]
    async fn an_entry_of_an_earlier_version_is_readable_and_keeps_its_form() {
        let (home, bundles, _) = index();
        let old = r#"{"volumes":["atq-bundle-1-b"],"nodes":{"n2":"host-2"},"removing":true}"#;
        let path = home.path().join("volumes/b.json");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, old).unwrap();
        let entry = bundles.get("b").await.unwrap().unwrap();
        assert!(entry.labels.is_empty() && entry.services.is_empty() && entry.removing);
        assert_eq!(serde_json::to_string(&entry).unwrap(), old);
    }

    #[test]
    fn names_that_lead_to_another_directory_have_no_key() {
        for (task, run) in [
            ("../x", "a"),
            ("x", "../a"),
            ("x/y", "a"),
            ("", "a"),
            ("x", ".."),
        ] {
            assert!(run_key(task, run).is_err(), "{task} {run}");
        }
    }

    #[tokio::test]
    async fn runs_and_bundles_have_separate_entries() {
        let (_home, bundles, runs) = index();
        bundles.add("b", ["v".to_owned()], node()).await.unwrap();
        let key = run_key("load", "a1b2c3").unwrap();
        runs.add(&key, [], node()).await.unwrap();
        assert_eq!(bundles.keys().await.unwrap(), ["b"]);
        assert_eq!(runs.keys().await.unwrap(), ["a1b2c3-load"]);
        runs.change(&key, |entry| entry.nodes.clear())
            .await
            .unwrap();
        assert_eq!(runs.get(&key).await.unwrap(), None);
        assert!(bundles.get("b").await.unwrap().is_some());
    }
}
