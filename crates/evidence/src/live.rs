//! The bytes of result files that arrive while a test runs. If the node of a container is lost, they are its results.
//!
//! ```text
//! evidence/<task>/<run>/live/index   one line for each file: its number, container and path
//!                            7.2     the bytes of file 7, after it was truncated or replaced twice
//! ```
//!
//! A path of a container is content of the index and never a path here. Bytes are written but not flushed: they survive
//! the end of the process. After a power failure some may be missing, and are sent again.

use super::results::{Budget, KeptResults, ResultsLimits, move_into_place};
use super::{Evidence, Source};
use atq_engine::{Appended, Received};
use atq_files::disk::{self, Content};
use atq_files::if_there;
use atq_task::spec::TaskName;
use atq_task::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;

const DIR: &str = "live";
const INDEX: &str = "index";
/// Maximum number of files of a run.
const MAX_FILES: u64 = 10_000;
/// Maximum length of a path in bytes.
const MAX_PATH: usize = 1000;
/// Maximum length of a name in bytes, as in most file systems.
const MAX_NAME: usize = 255;

/// A file in the results of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LiveFile {
    /// The container.
    pub source: Source,
    /// Path in its results.
    pub path: String,
}

/// The outcome of [`LiveFiles::append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The bytes follow those of before.
    Appended,
    /// The file began anew with these bytes.
    Restarted,
    /// The bytes do not follow the received part, which ends here; nothing was stored.
    ResumeAt(Received),
    /// No more bytes of this file are stored, for this reason.
    Refused(String),
}

/// The received files of a run. Methods block.
#[derive(Debug)]
pub struct LiveFiles {
    dir: PathBuf,
    limits: ResultsLimits,
    files: BTreeMap<LiveFile, Known>,
    /// Bytes of all files.
    bytes: u64,
    next_number: u64,
}

#[derive(Debug)]
struct Known {
    number: u64,
    received: Received,
    refused: Option<String>,
}

/// A line of the index.
#[derive(Debug, Serialize, Deserialize)]
struct IndexLine {
    number: u64,
    #[serde(flatten)]
    file: LiveFile,
}

impl LiveFiles {
    /// The files in `dir`, those of an earlier process as well.
    fn open(dir: PathBuf, limits: ResultsLimits) -> io::Result<Self> {
        let mut lengths = lengths(&dir)?;
        let mut files = BTreeMap::new();
        let mut next_number = 0;
        for line in index(&dir)? {
            next_number = next_number.max(line.number + 1);
            let known = Known {
                number: line.number,
                received: lengths.remove(&line.number).unwrap_or_default(),
                refused: None,
            };
            files.insert(line.file, known);
        }
        Ok(Self {
            bytes: files.values().map(|known| known.received.bytes).sum(),
            dir,
            limits,
            files,
            next_number,
        })
    }

    /// The files and their received parts.
    pub fn files(&self) -> impl Iterator<Item = (&LiveFile, Received)> {
        self.files
            .iter()
            .map(|(file, known)| (file, known.received))
    }

    /// Opens the received part of a file.
    ///
    /// # Errors
    /// When it cannot be opened, or there is no such file.
    pub fn read(&self, file: &LiveFile) -> io::Result<File> {
        let known = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        File::open(self.path(known.number, known.received.generation))
    }

    /// Stores bytes of a file, if they follow those of before and the limits allow it.
    ///
    /// # Errors
    /// When writing fails; the bytes may be sent again.
    pub fn append(&mut self, appended: &Appended) -> io::Result<Stored> {
        let file = LiveFile {
            source: appended.source,
            path: appended.path.clone(),
        };
        let known = self.files.get(&file);
        let received = known.map(|known| known.received).unwrap_or_default();
        let restarts = appended.generation > received.generation && appended.offset == 0;
        let follows =
            appended.generation == received.generation && appended.offset == received.bytes;
        if !restarts && !follows {
            return Ok(Stored::ResumeAt(received));
        }
        if let Some(reason) = known.and_then(|known| known.refused.clone()) {
            return Ok(Stored::Refused(reason));
        }
        let replaced = if restarts { received.bytes } else { 0 };
        if let Err(reason) = self.check(&file, appended, replaced) {
            if let Some(known) = self.files.get_mut(&file) {
                known.refused = Some(reason.clone());
            }
            return Ok(Stored::Refused(reason));
        }
        self.write(file, appended, restarts)?;
        Ok(if restarts {
            Stored::Restarted
        } else {
            Stored::Appended
        })
    }

    /// The reason if bytes cannot be accepted; they replace `replaced` bytes.
    fn check(&self, file: &LiveFile, appended: &Appended, replaced: u64) -> Result<(), String> {
        let files = self.limits.files.min(MAX_FILES);
        if !self.files.contains_key(file) {
            if safe_path(&file.path).is_none() {
                return Err(
                    "the name of a file is too long, or not one of a file below `/atq/results`"
                        .to_owned(),
                );
            }
            if self.files.len() as u64 >= files {
                return Err(format!("there are more than {files} files"));
            }
        }
        let bytes = (self.bytes - replaced).saturating_add(appended.bytes.len() as u64);
        let limit = self.limits.bytes;
        if bytes > limit {
            return Err(format!(
                "the files exceed {limit} bytes (`limits.resultsBytes`)"
            ));
        }
        // The same bytes must still fit on the disk when the results are collected at the end.
        let dir = self.dir.ancestors().find(|dir| dir.exists());
        let needed = bytes.saturating_add(appended.bytes.len() as u64);
        disk::check(dir.unwrap_or(&self.dir), needed, Content::Results)
            .map_err(|error| error.to_string())
    }

    fn write(&mut self, file: LiveFile, appended: &Appended, restarts: bool) -> io::Result<()> {
        let generation = appended.generation;
        let known = self.files.get(&file);
        let (number, received) = match known {
            Some(known) => (known.number, known.received),
            None => {
                let number = self.next_number;
                self.add_to_index(IndexLine {
                    number,
                    file: file.clone(),
                })?;
                self.next_number += 1;
                (number, Received::default())
            }
        };
        self.files.entry(file.clone()).or_insert(Known {
            number,
            received,
            refused: None,
        });
        let path = self.path(number, generation);
        if restarts {
            let old = self.path(number, received.generation);
            // In this order, old bytes never belong to the new generation.
            if let Some(file) = if_there(OpenOptions::new().write(true).open(&old))? {
                file.set_len(0)?;
                fs::rename(&old, &path)?;
            }
            self.received(
                &file,
                Received {
                    generation,
                    bytes: 0,
                },
            );
        }
        let data = private().open(&path)?;
        // An attempt that failed may have left a part of the bytes.
        data.write_all_at(&appended.bytes, appended.offset)?;
        let bytes = appended.offset + appended.bytes.len() as u64;
        self.received(&file, Received { generation, bytes });
        Ok(())
    }

    fn received(&mut self, file: &LiveFile, received: Received) {
        if let Some(known) = self.files.get_mut(file) {
            self.bytes = self.bytes - known.received.bytes + received.bytes;
            known.received = received;
        }
    }

    fn add_to_index(&self, line: IndexLine) -> io::Result<()> {
        let path = self.dir.join(INDEX);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let index = private().open(path)?;
        let end = index.metadata()?.len();
        index.write_all_at(&text, end).inspect_err(|_| {
            // The rest of an incomplete line would spoil the next one.
            let _ = index.set_len(end);
        })
    }

    fn path(&self, number: u64, generation: u64) -> PathBuf {
        self.dir.join(format!("{number}.{generation}"))
    }
}

/// Opens a file for writing, which only its owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options
}

/// The lines of the index. An incomplete last line, after a crash, is removed.
fn index(dir: &Path) -> io::Result<Vec<IndexLine>> {
    let path = dir.join(INDEX);
    let Some(text) = if_there(fs::read(&path))? else {
        return Ok(Vec::new());
    };
    let end = text.iter().rposition(|byte| *byte == b'\n');
    let end = end.map_or(0, |last| last + 1);
    if end < text.len() {
        OpenOptions::new()
            .write(true)
            .open(&path)?
            .set_len(end as u64)?;
    }
    let lines = text.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

/// The generation and length of each file, by its number.
fn lengths(dir: &Path) -> io::Result<BTreeMap<u64, Received>> {
    let mut lengths = BTreeMap::new();
    for entry in if_there(fs::read_dir(dir))?.into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('.'));
        let numbers = parts.and_then(|(number, generation)| {
            Some((number.parse().ok()?, generation.parse().ok()?))
        });
        if let Some((number, generation)) = numbers {
            let bytes = entry.metadata()?.len();
            lengths.insert(number, Received { generation, bytes });
        }
    }
    Ok(lengths)
}

/// The path of a result file relative to the directory of its container; `None` if it is not in its only form, leads out
/// of it, or is too long.
pub fn safe_path(path: &str) -> Option<PathBuf> {
    let names = path.split('/');
    let is_name = |name: &str| {
        let mut parts = Path::new(name).components();
        let only = (parts.next(), parts.next());
        matches!(only, (Some(Component::Normal(_)), None))
            && name.len() <= MAX_NAME
            && !name.contains('\0')
    };
    let is_safe = path.len() <= MAX_PATH && names.clone().all(is_name);
    is_safe.then(|| names.collect())
}

impl Evidence {
    fn live_dir(&self, task: &TaskName, run: &str) -> PathBuf {
        self.run_dir(task, run).join(DIR)
    }

    /// The received files of a run, to be continued. Creates nothing before the first byte. Blocks.
    ///
    /// # Errors
    /// When those of an earlier process cannot be read.
    pub fn live_files(
        &self,
        task: &TaskName,
        run: &str,
        limits: ResultsLimits,
    ) -> io::Result<LiveFiles> {
        LiveFiles::open(self.live_dir(task, run), limits)
    }

    /// The containers of which files were received.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub async fn live_sources(&self, task: &TaskName, run: &str) -> io::Result<BTreeSet<Source>> {
        let dir = self.live_dir(task, run);
        let read = move || {
            let lines = index(&dir)?.into_iter();
            Ok(lines.map(|line| line.file.source).collect())
        };
        spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// Keeps the received files of `source` as its results, marked as partial, unless those kept before are more complete.
    /// `reason` is why the results themselves could not be collected. Returns the results in effect; `None` without files.
    ///
    /// # Errors
    /// When they cannot be kept.
    pub async fn keep_live_results(
        &self,
        task: &TaskName,
        run: &str,
        source: Source,
        reason: &str,
        budget: Arc<Budget>,
    ) -> io::Result<Option<KeptResults>> {
        let (live, run, reason) = (
            self.live_dir(task, run),
            self.run_dir(task, run),
            reason.to_owned(),
        );
        let keep = move || {
            // The limits were applied when the bytes were received.
            let limits = ResultsLimits {
                bytes: u64::MAX,
                files: u64::MAX,
            };
            let files = LiveFiles::open(live, limits)?;
            files.keep(&run, source, &reason, &budget)
        };
        spawn_blocking(keep).await.map_err(io::Error::other)?
    }

    /// Removes the received files of a run.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub async fn remove_live(&self, task: &TaskName, run: &str) -> io::Result<()> {
        let removed = tokio::fs::remove_dir_all(self.live_dir(task, run)).await;
        if_there(removed).map(|_| ())
    }
}

impl LiveFiles {
    fn keep(
        &self,
        run: &Path,
        source: Source,
        reason: &str,
        budget: &Budget,
    ) -> io::Result<Option<KeptResults>> {
        let incoming = run.join("incoming");
        fs::create_dir_all(&incoming)?;
        let draft = tempfile::tempdir_in(&incoming)?;
        let into = draft.path().join(source.to_string());
        let mut kept = KeptResults {
            source,
            files: 0,
            bytes: 0,
            left_out: 0,
            problem: None,
            partial: true,
        };
        let (mut last, mut stop) = (None, None);
        for (file, known) in self.files.iter().filter(|(file, _)| file.source == source) {
            let data = self.path(known.number, known.received.generation);
            let bytes = known.received.bytes;
            if let Err(too_large) = budget.take_file().and_then(|()| budget.take_bytes(bytes)) {
                stop = Some(too_large.text().to_owned());
                break;
            }
            match link(&data, &into, &file.path) {
                Ok(received) => {
                    kept.files += 1;
                    kept.bytes += bytes;
                    last = last.max(Some(received));
                }
                // A name that the file system of the Director does not accept.
                Err(error) => {
                    tracing::debug!(%source, %error, "a received file is left out");
                    kept.left_out += 1;
                }
            }
        }
        if kept.files == 0 {
            return Ok(None);
        }
        kept.problem = Some(partial(reason, last, stop));
        move_into_place(run, kept, &into).map(Some)
    }
}

/// The reason for partial results.
fn partial(reason: &str, last: Option<SystemTime>, stop: Option<String>) -> String {
    let until = last.map(|last| Timestamp::from(OffsetDateTime::from(last)));
    let until = until.map_or_else(String::new, |until| format!(" until {until}"));
    let more = stop.map_or_else(String::new, |stop| format!("; {stop}"));
    format!("{reason}; they are partial: received{until} while the test ran{more}")
}

/// Makes `data` a file of the results in `into`; returns the time of its last bytes.
fn link(data: &Path, into: &Path, path: &str) -> io::Result<SystemTime> {
    let path = safe_path(path).ok_or(io::ErrorKind::InvalidFilename)?;
    let to = into.join(path);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::hard_link(data, to)?;
    fs::metadata(data)?.modified()
}

#[cfg(test)]
mod tests;
