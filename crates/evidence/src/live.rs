//! The bytes of result files that arrive while a test runs. If the node of a container is lost, they are its results.
//!
//! ```text
//! evidence/<task>/<run>/live/index   one line for each file: its number, container and path, and why it is not continued
//!                            7.2     the bytes of file 7, after it was truncated or replaced twice
//! ```
//!
//! A path of a container is content of the index and never a path here: a renamed file gets another line and keeps its bytes.
//! The index is then replaced as a whole, with the id of the renames, so that a repetition is recognized. Bytes are written but not flushed: they survive
//! the end of the process. After a power failure some may be missing, and are sent again.

use super::results::{Budget, KeptResults, ResultsLimits, move_into_place};
use super::{Evidence, Source};
use atq_engine::{Appended, Received, Renames};
use atq_files::disk::{self, Content};
use atq_files::if_there;
use atq_task::spec::TaskName;
use atq_task::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use tokio::task::spawn_blocking;

const DIR: &str = "live";
const INDEX: &str = "index";
/// The next index, while it is written.
const NEXT_INDEX: &str = "next-index";
/// Maximum number of files of a run.
const MAX_FILES: u64 = 10_000;
/// Maximum number of remembered files of which nothing was stored.
const MAX_LEFT_OUT: usize = 100;
/// Maximum length of a path in bytes.
const MAX_PATH: usize = 1000;
/// Maximum length of a name in bytes, as in most file systems.
const MAX_NAME: usize = 255;

const UNSAFE_NAME: &str =
    "the name of a file is too long, or not one of a file below `/atq/results`";

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
    /// No more bytes of this file are stored, for this reason: a limit, or its name.
    Refused(String),
}

/// The received files of a run. Methods block.
#[derive(Debug)]
pub struct LiveFiles {
    dir: PathBuf,
    limits: ResultsLimits,
    files: BTreeMap<LiveFile, Known>,
    /// Files of which nothing is stored because of a limit, with the reason; at most [`MAX_LEFT_OUT`].
    left_out: BTreeMap<LiveFile, String>,
    /// The id of the last renames of each container.
    renames: BTreeMap<Source, String>,
    /// Bytes of all files.
    bytes: u64,
    next_number: u64,
}

#[derive(Debug, Clone)]
struct Known {
    number: u64,
    received: Received,
    refused: Option<String>,
}

/// A line of the index. Of several lines about the same, the last one is valid.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum IndexLine {
    Stored {
        number: u64,
        #[serde(flatten)]
        file: LiveFile,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    LeftOut {
        #[serde(flatten)]
        file: LiveFile,
        refused: String,
    },
    Renamed {
        source: Source,
        renames: String,
    },
}

impl LiveFiles {
    /// The files in `dir`, those of an earlier process as well.
    fn open(dir: PathBuf, limits: ResultsLimits) -> io::Result<Self> {
        let lengths = lengths(&dir)?;
        let index = index(&dir)?;
        // The bytes of a file that was dropped may still be there: its number is not used again.
        let last_length = lengths.keys().last().copied();
        let mut opened = Self {
            dir,
            limits,
            files: BTreeMap::new(),
            left_out: BTreeMap::new(),
            renames: BTreeMap::new(),
            bytes: 0,
            next_number: last_length.map_or(0, |number| number + 1),
        };
        for line in index {
            opened.read_line(line, &lengths);
        }
        opened.count_bytes();
        Ok(opened)
    }

    fn read_line(&mut self, line: IndexLine, lengths: &BTreeMap<u64, Received>) {
        match line {
            IndexLine::Stored {
                number,
                file,
                refused,
            } => {
                self.next_number = self.next_number.max(number + 1);
                let known = Known {
                    number,
                    received: lengths.get(&number).copied().unwrap_or_default(),
                    refused,
                };
                self.files.insert(file, known);
            }
            IndexLine::LeftOut { file, refused } => {
                self.left_out.insert(file, refused);
            }
            IndexLine::Renamed { source, renames } => {
                self.renames.insert(source, renames);
            }
        }
    }

    fn count_bytes(&mut self) {
        let files = self.files.values();
        self.bytes = files.map(|known| known.received.bytes).sum();
    }

    /// The files and their received parts.
    pub fn files(&self) -> impl Iterator<Item = (&LiveFile, Received)> {
        self.files
            .iter()
            .map(|(file, known)| (file, known.received))
    }

    /// Files of which no more bytes are stored because of a limit, with the reason.
    pub fn refused(&self) -> impl Iterator<Item = (&LiveFile, &str)> {
        let files = self.files.iter();
        let stored = files.filter_map(|(file, known)| Some((file, known.refused.as_deref()?)));
        let left_out = self.left_out.iter();
        stored.chain(left_out.map(|(file, reason)| (file, reason.as_str())))
    }

    /// Opens the received part of a file.
    ///
    /// # Errors
    /// When it cannot be opened, or there is no such file.
    pub fn read(&self, file: &LiveFile) -> io::Result<File> {
        let known = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        File::open(self.path(known.number, known.received.generation))
    }

    /// The time at which the last bytes of a file were stored, by the clock of this machine.
    pub fn written(&self, file: &LiveFile) -> Option<Timestamp> {
        let known = self.files.get(file)?;
        let path = self.path(known.number, known.received.generation);
        let written = fs::metadata(path).and_then(|data| data.modified()).ok()?;
        let since = written.duration_since(UNIX_EPOCH).ok()?;
        Some(Timestamp(u64::try_from(since.as_millis()).ok()?))
    }

    /// Stores bytes of a file, if they follow those of before and the limits allow it.
    ///
    /// # Errors
    /// When writing fails or the disk is full; the bytes may be sent again.
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
        let refused = match known {
            Some(known) => known.refused.as_ref(),
            None => self.left_out.get(&file),
        };
        if let Some(reason) = refused {
            return Ok(Stored::Refused(reason.clone()));
        }
        if known.is_none() && safe_path(&file.path).is_none() {
            return Ok(Stored::Refused(UNSAFE_NAME.to_owned()));
        }
        let replaced = if restarts { received.bytes } else { 0 };
        let bytes = (self.bytes - replaced).saturating_add(appended.bytes.len() as u64);
        if let Some(reason) = self.exceeded(&file, bytes) {
            self.refuse(file, &reason)?;
            return Ok(Stored::Refused(reason));
        }
        // The same bytes must still fit on the disk when the results are collected at the end.
        let dir = self.dir.ancestors().find(|dir| dir.exists());
        let needed = bytes.saturating_add(appended.bytes.len() as u64);
        disk::check(dir.unwrap_or(&self.dir), needed, Content::Results)?;
        self.write(file, appended, restarts)?;
        Ok(if restarts {
            Stored::Restarted
        } else {
            Stored::Appended
        })
    }

    /// The limit that the file or this number of bytes of all files exceeds.
    fn exceeded(&self, file: &LiveFile, bytes: u64) -> Option<String> {
        let (files, limit) = (self.limits.files.min(MAX_FILES), self.limits.bytes);
        if !self.files.contains_key(file) && self.files.len() as u64 >= files {
            return Some(format!("there are more than {files} files"));
        }
        (bytes > limit).then(|| format!("the files exceed {limit} bytes (`limits.resultsBytes`)"))
    }

    /// Accepts no more bytes of a file, also after a restart.
    fn refuse(&mut self, file: LiveFile, reason: &str) -> io::Result<()> {
        let refused = Some(reason.to_owned());
        if let Some(known) = self.files.get(&file) {
            self.add_to_index(&IndexLine::Stored {
                number: known.number,
                file: file.clone(),
                refused: refused.clone(),
            })?;
            self.files
                .entry(file)
                .and_modify(|known| known.refused = refused);
        } else if self.left_out.len() < MAX_LEFT_OUT {
            self.add_to_index(&IndexLine::LeftOut {
                file: file.clone(),
                refused: reason.to_owned(),
            })?;
            self.left_out.insert(file, reason.to_owned());
        }
        Ok(())
    }

    /// Renames files of a container, and drops those whose paths they take. Returns `false` if these renames were applied
    /// before.
    ///
    /// # Errors
    /// When the index cannot be written; nothing was renamed then.
    pub fn rename(&mut self, renames: &Renames) -> io::Result<bool> {
        let Renames { source, id, paths } = renames;
        if self.renames.get(source) == Some(id) {
            return Ok(false);
        }
        if self.files.is_empty() {
            return Ok(true);
        }
        let file = |path: &String| LiveFile {
            source: *source,
            path: path.clone(),
        };
        let mut files = self.files.clone();
        let moved = paths.iter();
        let moved: Vec<_> = moved
            .filter_map(|(from, to)| Some((file(to), files.remove(&file(from))?)))
            .collect();
        let dropped = paths.iter();
        let dropped: Vec<Known> = dropped
            .filter_map(|(_, to)| files.remove(&file(to)))
            .collect();
        files.extend(moved);
        let mut renames = self.renames.clone();
        renames.insert(*source, id.clone());
        replace_index(&self.dir, lines(&files, &self.left_out, &renames))?;
        (self.files, self.renames) = (files, renames);
        self.count_bytes();
        for known in dropped {
            let path = self.path(known.number, known.received.generation);
            if let Err(error) = if_there(fs::remove_file(path)) {
                tracing::debug!(%error, "the bytes of a replaced file are removed at the end of the run");
            }
        }
        Ok(true)
    }

    fn write(&mut self, file: LiveFile, appended: &Appended, restarts: bool) -> io::Result<()> {
        let generation = appended.generation;
        let known = self.files.get(&file);
        let (number, received) = match known {
            Some(known) => (known.number, known.received),
            None => {
                let number = self.next_number;
                self.add_to_index(&IndexLine::Stored {
                    number,
                    file: file.clone(),
                    refused: None,
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

    fn add_to_index(&self, line: &IndexLine) -> io::Result<()> {
        let path = self.dir.join(INDEX);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        let mut text = serde_json::to_vec(line)?;
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

/// The lines of an index.
fn lines<'a>(
    files: &'a BTreeMap<LiveFile, Known>,
    left_out: &'a BTreeMap<LiveFile, String>,
    renames: &'a BTreeMap<Source, String>,
) -> impl Iterator<Item = IndexLine> + 'a {
    let stored = files.iter().map(|(file, known)| IndexLine::Stored {
        number: known.number,
        file: file.clone(),
        refused: known.refused.clone(),
    });
    let left_out = left_out.iter().map(|(file, reason)| IndexLine::LeftOut {
        file: file.clone(),
        refused: reason.clone(),
    });
    let renamed = renames.iter().map(|(source, id)| IndexLine::Renamed {
        source: *source,
        renames: id.clone(),
    });
    stored.chain(left_out).chain(renamed)
}

/// Replaces the index in one step.
fn replace_index(dir: &Path, lines: impl Iterator<Item = IndexLine>) -> io::Result<()> {
    let next = dir.join(NEXT_INDEX);
    let file = private().open(&next)?;
    file.set_len(0)?;
    let mut writer = BufWriter::new(file);
    for line in lines {
        serde_json::to_writer(&mut writer, &line)?;
        writer.write_all(b"\n")?;
    }
    writer.flush()?;
    fs::rename(next, dir.join(INDEX))
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
            let source = |line| match line {
                IndexLine::Stored { file, .. } => Some(file.source),
                _ => None,
            };
            Ok(index(&dir)?.into_iter().filter_map(source).collect())
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
