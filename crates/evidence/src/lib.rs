//! Files kept of each run after its containers are removed, under `datadir/evidence`.
//!
//! - [`Evidence`]: writes and reads logs, results, the manifest and the report of a run;
//! - [`results`]: the files that containers leave in `/atq/results`; [`live`]: their bytes while the test runs;
//! - [`report`]: the figures from them; [`cpu_usage`]: the CPU usage of load generators and nodes;
//! - [`container_metrics`]: CPU, memory, network and block I/O of all containers over time.
//!
//! The crate must not depend on the store or on a specific engine: logs and results arrive as streams.
//!
//! ```text
//! evidence/<task>/<run>/logs/master.1.log     one file for each container
//!                            worker.3.log
//!                            readiness.1.log  the readiness command
//!                            wait.2.log       the second attempt of the wait command
//!                       manifest.json         state reported by the engine: images, nodes, containers
//!                       container-metrics.csv resource usage of the containers over time
//! ```
//!
//! A line is `<time> <stream> <text>`. A log larger than `limits.logBytes` ([`HEAD_BYTES`] and [`TAIL_BYTES`]) keeps its
//! beginning and its end, with a line between them that describes the gap.
//!
//! ```
//! use atq_engine::{LogLine, LogStream, Role};
//! use atq_evidence::{Evidence, Source};
//! use atq_task::spec::TaskName;
//! use std::time::Duration;
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let datadir = tempfile::tempdir()?;
//! let evidence = Evidence::new(datadir.path());
//! let (task, run) = (TaskName::parse("checkout")?, "k3v9");
//! let master = Source { role: Role::Master, replica: 1 };
//! let line = LogLine {
//!     at: "2026-01-31T12:00:00Z".to_owned(),
//!     stream: LogStream::Stdout,
//!     text: "done".to_owned(),
//! };
//!
//! let lines = futures_util::stream::iter([Ok(line.clone())]);
//! let deadline = Instant::now() + Duration::from_secs(5);
//! evidence.keep_log((&task, run), master, lines, None, deadline).await?;
//!
//! let mut kept = evidence.read_log(&task, run, master).await?;
//! assert_eq!(kept.next().await?, Some(line));
//! # Ok(())
//! # }
//! ```

pub mod container_metrics;
pub mod cpu_usage;
mod fingerprint;
pub mod live;
mod log_file;
mod log_position;
mod observed;
pub mod report;
pub mod results;

pub use log_file::LastLines;
pub use observed::{
    Observed, ObservedBundle, ObservedContainer, ObservedImage, ObservedNode, ObservedSettings,
};

pub use atq_engine::Source;
use atq_engine::{EngineError, LogLine, LogStream};
use atq_files::{Mode, if_there, write_atomic};
use atq_task::spec::TaskName;
use futures_util::Stream;
use log_file::Caps;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::{self, File};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// Bytes kept of the beginning of a log.
pub const HEAD_BYTES: usize = 64 << 20;
/// Bytes kept of the end of a log.
pub const TAIL_BYTES: usize = 4 << 20;

/// The evidence of all runs.
#[derive(Debug, Clone)]
pub struct Evidence {
    root: PathBuf,
    caps: Caps,
}

impl Evidence {
    /// Evidence below `datadir`.
    pub fn new(datadir: &Path) -> Self {
        Self {
            root: datadir.join("evidence"),
            caps: Caps {
                head: HEAD_BYTES,
                tail: TAIL_BYTES,
            },
        }
    }

    fn run_dir(&self, task: &TaskName, run: &str) -> PathBuf {
        self.root.join(task.as_str()).join(run)
    }

    /// Limits a kept log to `bytes`; one seventeenth of them is for its end.
    pub fn with_log_bytes(mut self, bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let tail = bytes / 17;
        self.caps = Caps {
            head: bytes - tail,
            tail,
        };
        self
    }

    /// The bytes kept of a task. Blocks.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn size(&self, task: &TaskName) -> io::Result<u64> {
        size_of(&self.root.join(task.as_str()))
    }

    /// Removes all files of one run of a task.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub async fn remove_run(&self, task: &TaskName, run: &str) -> io::Result<()> {
        let dir = self.root.join(task.as_str());
        if_there(fs::remove_dir_all(dir.join(run)).await)?;
        // Fails if another run of a task with this name has files there.
        let _ = fs::remove_dir(dir).await;
        Ok(())
    }

    fn logs_dir(&self, task: &TaskName, run: &str) -> PathBuf {
        self.run_dir(task, run).join("logs")
    }

    /// Writes a value atomically as a JSON file of the run.
    async fn keep<T: Serialize>(
        &self,
        task: &TaskName,
        run: &str,
        file: &str,
        value: &T,
    ) -> io::Result<()> {
        let path = self.run_dir(task, run).join(file);
        let text = serde_json::to_vec(value)?;
        let write = move || write_atomic(&path, &text, Mode::Private);
        spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// Writes a log up to `deadline`. If it is too large or too slow to read, only its beginning and its end are kept.
    /// An existing file is replaced only by a complete log, so that a later partial read never overwrites it.
    ///
    /// # Errors
    /// If writing fails, or if the log ends early; the lines read so far are kept.
    pub async fn keep_log<S>(
        &self,
        (task, run): (&TaskName, &str),
        source: Source,
        lines: S,
        last: Option<LastLines<'_>>,
        deadline: Instant,
    ) -> Result<(), String>
    where
        S: Stream<Item = Result<LogLine, EngineError>> + Unpin,
    {
        let dir = self.logs_dir(task, run);
        let text = |error: io::Error| format!("cannot write the log of {source}: {error}");
        fs::create_dir_all(&dir).await.map_err(text)?;
        let part = dir.join(format!("{source}.part"));
        let whole = dir.join(format!("{source}.log"));
        let read = log_file::write(&part, lines, last, self.caps, deadline)
            .await
            .map_err(text)?;
        if read.is_ok() || !fs::try_exists(&whole).await.unwrap_or(false) {
            fs::rename(&part, &whole).await.map_err(text)?;
        } else {
            fs::remove_file(&part).await.map_err(text)?;
        }
        read.map_err(|error| format!("the log of {source} is incomplete: {error}"))
    }

    /// The containers whose logs are kept, in order.
    ///
    /// # Errors
    /// When the directory cannot be read; one that is not there is empty.
    pub async fn logs(&self, task: &TaskName, run: &str) -> io::Result<Vec<Source>> {
        let Some(mut entries) = if_there(fs::read_dir(self.logs_dir(task, run)).await)? else {
            return Ok(Vec::new());
        };
        let mut sources = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".log"));
            sources.extend(name.and_then(Source::parse));
        }
        sources.sort_unstable();
        Ok(sources)
    }

    /// A kept log, line by line.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn read_log(
        &self,
        task: &TaskName,
        run: &str,
        source: Source,
    ) -> io::Result<KeptLog> {
        let path = self.logs_dir(task, run).join(format!("{source}.log"));
        Ok(KeptLog {
            lines: BufReader::new(File::open(path).await?).lines(),
        })
    }

    /// The last lines of a kept log: at most `count`, each of at most `chars` characters; empty when no log is kept.
    pub async fn last_texts(
        &self,
        (task, run): (&TaskName, &str),
        source: Source,
        count: usize,
        chars: usize,
    ) -> Vec<String> {
        let path = self.logs_dir(task, run).join(format!("{source}.log"));
        let texts = log_file::last_texts(&path, count, chars).await;
        texts.unwrap_or_default()
    }

    /// The tasks with kept files.
    ///
    /// # Errors
    /// When the directory cannot be read; one that is not there is empty.
    pub async fn tasks(&self) -> io::Result<Vec<TaskName>> {
        let Some(mut entries) = if_there(fs::read_dir(&self.root).await)? else {
            return Ok(Vec::new());
        };
        let mut tasks = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            tasks.extend(name.to_str().and_then(|name| TaskName::parse(name).ok()));
        }
        Ok(tasks)
    }

    /// Removes all files of a task.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub async fn remove(&self, task: &TaskName) -> io::Result<()> {
        let removed = fs::remove_dir_all(self.root.join(task.as_str())).await;
        if_there(removed).map(|_| ())
    }
}

/// A reader of a kept log.
pub struct KeptLog {
    lines: Lines<BufReader<File>>,
}

impl KeptLog {
    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn next(&mut self) -> io::Result<Option<LogLine>> {
        Ok(self.lines.next_line().await?.map(|line| parse_line(&line)))
    }
}

/// The size of all files below `path`; files removed during the walk count as zero.
fn size_of(path: &Path) -> io::Result<u64> {
    let Some(entries) = if_there(std::fs::read_dir(path))? else {
        return Ok(0);
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        bytes += match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_of(&entry.path())?,
            _ => entry.metadata().map_or(0, |metadata| metadata.len()),
        };
    }
    Ok(bytes)
}

fn parse_line(line: &str) -> LogLine {
    let mut parts = line.splitn(3, ' ');
    let at = parts.next().unwrap_or_default().to_owned();
    let stream = match parts.next() {
        Some("stderr") => LogStream::Stderr,
        _ => LogStream::Stdout,
    };
    LogLine {
        at,
        stream,
        text: parts.next().unwrap_or_default().to_owned(),
    }
}

fn format_line(line: &LogLine) -> String {
    let stream = match line.stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    };
    format!("{} {stream} {}\n", line.at, line.text)
}

#[cfg(test)]
mod tests;
