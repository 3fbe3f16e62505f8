//! Which volumes were made of which bundle, and on which nodes they may be: noted before the first of
//! them is made, so that none is forgotten.
//!
//! ```text
//! <datadir>/volumes/<bundle>.json
//! ```

use atq_files::{Mode, write_atomic};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// What may be there of one bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Held {
    /// Names of volumes.
    pub volumes: BTreeSet<String>,
    /// Host names of nodes, by id.
    pub nodes: BTreeMap<String, String>,
    /// Whether they are to go.
    pub removing: bool,
}

/// The volumes of all bundles.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    writing: Mutex<()>,
    /// Held while volumes are removed: two removals would wait for each other's containers.
    pub(crate) removing: Arc<Mutex<()>>,
}

impl Ledger {
    /// The ledger below `datadir`. Touches nothing.
    pub fn new(datadir: &Path) -> Self {
        Self {
            dir: datadir.join("volumes"),
            writing: Mutex::default(),
            removing: Arc::default(),
        }
    }

    /// Notes that these volumes may now come to be on these nodes, in addition to what is noted.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn note(
        &self,
        bundle: &str,
        volumes: impl IntoIterator<Item = String>,
        nodes: impl IntoIterator<Item = (String, String)>,
    ) -> io::Result<()> {
        self.change(bundle, |held| {
            held.volumes.extend(volumes);
            held.nodes.extend(nodes);
            held.removing = false;
        })
        .await
    }

    /// Changes what is noted of a bundle. What is on no node any more is forgotten.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn change(&self, bundle: &str, change: impl FnOnce(&mut Held)) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        let before = self.get(bundle).await?;
        let mut held = before.clone().unwrap_or_default();
        change(&mut held);
        if before.as_ref() == Some(&held) {
            return Ok(());
        }
        let path = self.path(bundle);
        spawn_blocking(move || match held.nodes.is_empty() {
            true => gone(fs::remove_file(path)),
            false => write(&path, &held),
        })
        .await
        .map_err(io::Error::other)?
    }

    /// What is noted of a bundle.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn get(&self, bundle: &str) -> io::Result<Option<Held>> {
        match tokio::fs::read(self.path(bundle)).await {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bundles of which something is noted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn bundles(&self) -> io::Result<Vec<String>> {
        let mut entries = match tokio::fs::read_dir(&self.dir).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
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

fn write(path: &Path, held: &Held) -> io::Result<()> {
    write_atomic(path, &serde_json::to_vec_pretty(held)?, Mode::Private)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
