//! The stored bundles.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use atq_bundle_archive::{BundleError, BundleId, Limits, Totals, scan, unpack};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::task::spawn_blocking;

use super::incoming::{Incoming, Uploaded};
use super::workdir::{Workdir, sweep};
use atq_files::disk::{self, Content};
use atq_files::{Mode, flush, flush_tree, if_there, walk, write_atomic};

const INCOMING: &str = ".incoming";
/// File name of an upload before its id is known.
const ZIP: &str = "upload.zip";
const META: &str = ".meta";
const ZIPS: &str = ".zips";
/// A newer zip without a bundle may belong to an unfinished upload of another Director.
const ORPHANED_ZIP_AGE: Duration = Duration::from_secs(3600);

/// Description of a bundle without its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleInfo {
    /// The bundle's id.
    pub id: BundleId,
    /// The name of the zip at its first upload; `None` if the description was lost.
    pub file_name: Option<String>,
    /// The size of the zip in bytes; `None` if the description was lost.
    pub zip_bytes: Option<u64>,
    /// Files in it, without directories.
    pub files: u64,
    /// Their total size in bytes.
    pub unpacked_bytes: u64,
    /// Time of the first upload.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleEntry {
    /// Its path below `/atq/data`, with `/` between components.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A bundle with its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleContent {
    /// Description of the bundle.
    pub info: BundleInfo,
    /// Its files, sorted by path.
    pub entries: Vec<BundleEntry>,
}

/// All bundles below one directory. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct BundleStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    limits: Limits,
}

impl BundleStore {
    /// Opens the store, creates missing directories and sweeps remains of a crash. Blocks; for use at startup.
    ///
    /// # Errors
    /// [`BundleError::Storage`] if `glusterpath` is relative or cannot be used.
    pub fn open(glusterpath: &Path, limits: Limits) -> Result<Self, BundleError> {
        let open = || {
            if !glusterpath.is_absolute() {
                // Docker takes only absolute sources of bind mounts.
                return Err(io::Error::other("the path must be absolute"));
            }
            fs::create_dir_all(glusterpath.join(INCOMING))?;
            fs::create_dir_all(glusterpath.join(META))?;
            fs::create_dir_all(glusterpath.join(ZIPS))?;
            sweep(&glusterpath.join(INCOMING))?;
            let root = glusterpath.to_owned();
            let store = Self {
                shared: Arc::new(Shared { root, limits }),
            };
            store.sweep_zips()?;
            Ok(store)
        };
        let action = format!("use `glusterpath` `{}`", glusterpath.display());
        open().map_err(BundleError::storage(action))
    }

    /// The limits passed to [`BundleStore::open`].
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Checks that the disk has enough space for an upload of `bytes` bytes.
    ///
    /// # Errors [`BundleError::Storage`] if there is too little space.
    pub async fn check_room(&self, bytes: u64) -> Result<(), BundleError> {
        let store = self.clone();
        blocking("store the upload", move || store.check_space(bytes)).await
    }

    /// Blocking version of [`BundleStore::check_room`].
    pub(super) fn check_space(&self, bytes: u64) -> io::Result<()> {
        disk::check(&self.shared.root, bytes, Content::Upload)
    }

    /// Starts an upload.
    ///
    /// # Errors
    /// [`BundleError::Storage`] if no file can be created.
    pub async fn begin(&self) -> Result<Incoming, BundleError> {
        let store = self.clone();
        let created = blocking("start the upload", move || {
            let workdir = Workdir::create(&store.join(INCOMING))?;
            let zip = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(workdir.join(ZIP))?;
            Ok((workdir, zip))
        });
        let (workdir, zip) = created.await?;
        Ok(Incoming::new(self.clone(), workdir, zip))
    }

    /// All bundles, the newest first.
    ///
    /// # Errors
    /// [`BundleError::Storage`] when the directory cannot be read.
    pub async fn list(&self) -> Result<Vec<BundleInfo>, BundleError> {
        let store = self.clone();
        blocking("list the bundles", move || store.list_blocking()).await
    }

    /// One bundle with its files; `None` if it does not exist.
    ///
    /// # Errors
    /// [`BundleError::Storage`] when it cannot be read.
    pub async fn get(&self, id: &BundleId) -> Result<Option<BundleContent>, BundleError> {
        let (store, id) = (self.clone(), id.clone());
        blocking("read the bundle", move || if_there(store.content(id))).await
    }

    /// Removes a bundle; returns false if it does not exist. The caller must ensure that no active task uses it.
    ///
    /// # Errors
    /// [`BundleError::Storage`]; the bundle is then either no longer listed or unchanged.
    pub async fn remove(&self, id: &BundleId) -> Result<bool, BundleError> {
        let (store, id) = (self.clone(), id.clone());
        blocking("remove the bundle", move || store.remove_blocking(&id)).await
    }

    /// True if the bundle exists. Makes a single system call.
    pub fn exists(&self, id: &BundleId) -> bool {
        self.path_of(id).is_dir()
    }

    /// Time of the last upload of the bundle; `None` if it does not exist.
    pub fn uploaded_at(&self, id: &BundleId) -> Option<SystemTime> {
        fs::metadata(self.path_of(id)).ok()?.modified().ok()
    }

    /// Path of the content of a bundle, even of a missing one: the absolute source of the bind mount.
    pub fn path_of(&self, id: &BundleId) -> PathBuf {
        self.join(id.as_str())
    }

    /// The uploaded zip of a bundle and its size in bytes; `None` if the bundle does not exist, or
    /// was uploaded before zips were kept.
    ///
    /// # Errors
    /// [`BundleError::Storage`] when it cannot be read.
    pub async fn zip(&self, id: &BundleId) -> Result<Option<(File, u64)>, BundleError> {
        let (store, id) = (self.clone(), id.clone());
        blocking("read the zip of the bundle", move || {
            let open = || {
                let zip = File::open(store.zip_path(&id))?;
                let bytes = zip.metadata()?.len();
                Ok((zip, bytes))
            };
            match store.exists(&id) {
                true => if_there(open()),
                false => Ok(None),
            }
        })
        .await
    }

    fn zip_path(&self, id: &BundleId) -> PathBuf {
        self.join(ZIPS).join(format!("{id}.zip"))
    }

    fn join(&self, name: &str) -> PathBuf {
        self.shared.root.join(name)
    }

    fn meta_path(&self, id: &BundleId) -> PathBuf {
        self.join(META).join(format!("{id}.json"))
    }

    /// Creates a bundle from a complete upload. Blocks.
    pub(super) fn keep(
        &self,
        workdir: Workdir,
        zip: File,
        id: BundleId,
        file_name: &str,
        zip_bytes: u64,
    ) -> Result<Uploaded, BundleError> {
        let keep_zip = || {
            self.keep_zip(&workdir, &zip, &id)
                .map_err(BundleError::storage("keep the zip"))
        };
        if self.exists(&id) {
            keep_zip()?;
            return self.existing(id);
        }
        let zip = Arc::new(
            zip.try_clone()
                .map_err(BundleError::storage("read the upload"))?,
        );
        let totals = scan(&zip, &self.shared.limits)?;
        self.check_space(totals.bytes)
            .map_err(BundleError::storage("unpack the upload"))?;
        let content = workdir.join("content");
        fs::create_dir(&content)
            .map_err(BundleError::storage("create a directory for the upload"))?;
        // Syncs the zip in parallel, so that it causes no delay afterwards.
        std::thread::scope(|scope| {
            scope.spawn(|| zip.sync_data());
            unpack(&zip, &content)
        })?;
        flush_tree(&content, totals.files).map_err(BundleError::storage("flush the bundle"))?;
        // The zip comes first, so that every published bundle has one.
        keep_zip()?;
        let published = self
            .publish(&content, &id)
            .map_err(BundleError::storage("publish the bundle"))?;
        if !published {
            return self.existing(id);
        }
        let info = new_info(id, file_name, zip_bytes, totals);
        self.describe(&info);
        Ok(Uploaded {
            id: info.id.clone(),
            existed: false,
            info,
        })
    }

    /// Moves the zip into place, unless one exists.
    fn keep_zip(&self, workdir: &Workdir, zip: &File, id: &BundleId) -> io::Result<()> {
        let target = self.zip_path(id);
        if target.is_file() {
            return Ok(());
        }
        zip.sync_data()?;
        fs::rename(workdir.join(ZIP), target)?;
        flush(&self.join(ZIPS))
    }

    /// Removes zips without a bundle, left by a crash during an upload or a removal.
    fn sweep_zips(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.join(ZIPS))? {
            let entry = entry?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".zip"));
            let Some(Ok(id)) = id.map(str::parse::<BundleId>) else {
                continue;
            };
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if !self.exists(&id) && age >= ORPHANED_ZIP_AGE {
                if_there(fs::remove_file(entry.path()))?;
            }
        }
        Ok(())
    }

    fn existing(&self, id: BundleId) -> Result<Uploaded, BundleError> {
        // A repeated upload indicates that the bundle is about to be used. The new modification time protects it from
        // retention.
        let touched =
            File::open(self.path_of(&id)).and_then(|dir| dir.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(bundle = %id, %error, "cannot record the repeated upload of a bundle");
        }
        let info = self
            .info(id.clone())
            .map_err(BundleError::storage("read the bundle"))?;
        Ok(Uploaded {
            id,
            existed: true,
            info,
        })
    }

    /// Renames the content into place; returns false if a concurrent upload of the same zip was first.
    fn publish(&self, content: &Path, id: &BundleId) -> io::Result<bool> {
        match fs::rename(content, self.path_of(id)) {
            Ok(()) => {}
            // A non-empty directory is never replaced, and bundles are never empty.
            Err(e) if is_taken(&e) => return Ok(false),
            Err(e) => return Err(e),
        }
        flush(&self.shared.root)?;
        Ok(true)
    }

    /// Writes the description. It can be rebuilt, so a failure only causes a warning.
    fn describe(&self, info: &BundleInfo) {
        let text = serde_json::to_vec_pretty(info).map_err(io::Error::from);
        let path = self.meta_path(&info.id);
        if let Err(error) = text.and_then(|text| write_atomic(&path, &text, Mode::Readable)) {
            tracing::warn!(bundle = %info.id, %error, "cannot store the description of the bundle");
        }
    }

    fn list_blocking(&self) -> io::Result<Vec<BundleInfo>> {
        let mut bundles = Vec::new();
        for entry in fs::read_dir(&self.shared.root)? {
            let name = entry?.file_name();
            let Some(Ok(id)) = name.to_str().map(str::parse::<BundleId>) else {
                continue;
            };
            if self.exists(&id) {
                bundles.extend(if_there(self.info(id))?);
            }
        }
        bundles.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(bundles)
    }

    fn content(&self, id: BundleId) -> io::Result<BundleContent> {
        let root = self.path_of(&id);
        let mut entries = Vec::new();
        walk(&root, |path, metadata| {
            if metadata.is_file() {
                let relative = path.strip_prefix(&root).unwrap_or(path);
                entries.push(BundleEntry {
                    path: relative.to_string_lossy().into_owned(),
                    size: metadata.len(),
                });
            }
            Ok(())
        })?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let info = self.info(id)?;
        Ok(BundleContent { info, entries })
    }

    fn info(&self, id: BundleId) -> io::Result<BundleInfo> {
        let stored = fs::read(self.meta_path(&id))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<BundleInfo>(&bytes).ok())
            .filter(|info| info.id == id);
        stored.map_or_else(|| self.info_from_content(id), Ok)
    }

    fn info_from_content(&self, id: BundleId) -> io::Result<BundleInfo> {
        let root = self.path_of(&id);
        let (mut files, mut unpacked_bytes) = (0, 0);
        walk(&root, |_, metadata| {
            if metadata.is_file() {
                files += 1;
                unpacked_bytes += metadata.len();
            }
            Ok(())
        })?;
        Ok(BundleInfo {
            id,
            file_name: None,
            zip_bytes: None,
            files,
            unpacked_bytes,
            created: fs::metadata(&root)?.modified()?.into(),
        })
    }

    fn remove_blocking(&self, id: &BundleId) -> io::Result<bool> {
        let workdir = Workdir::create(&self.join(INCOMING))?;
        if let Err(e) = fs::rename(self.path_of(id), workdir.join("content")) {
            return if_there(Err(e)).map(|found: Option<()>| found.is_some());
        }
        if_there(fs::remove_file(self.zip_path(id)))?;
        if_there(fs::remove_file(self.meta_path(id)))?;
        flush(&self.shared.root)?;
        Ok(true)
    }
}

fn new_info(id: BundleId, file_name: &str, zip_bytes: u64, totals: Totals) -> BundleInfo {
    BundleInfo {
        id,
        file_name: Some(file_name.to_owned()),
        zip_bytes: Some(zip_bytes),
        files: totals.files,
        unpacked_bytes: totals.bytes,
        created: OffsetDateTime::now_utc(),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
    )
}

async fn blocking<T: Send + 'static>(
    action: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BundleError> {
    spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .and_then(|done| done)
        .map_err(BundleError::storage(action))
}
