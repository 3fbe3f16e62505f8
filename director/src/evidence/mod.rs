//! What is kept of a run after its containers are gone: files under `datadir/evidence`.
//!
//! ```text
//! evidence/<task>/<run>/logs/master.1.log     one file for each container
//!                            worker.3.log
//!                            readiness.1.log  the readiness command
//!                            wait.2.log       the second try of the wait command
//! ```
//!
//! A line is `<time> <stream> <text>`. A log larger than [`HEAD_BYTES`] and [`TAIL_BYTES`] keeps its
//! beginning and its end, with a line between them that says how much is missing. What containers
//! leave in `/atq/results` is the matter of [`results`], how busy they
//! were that of [`load`].

pub mod load;
pub mod report;
pub mod results;

use crate::swarm::{LogLine, LogStream, SwarmError};
use crate::task::plan::Role;
use crate::task::spec::TaskName;
use futures_util::{Stream, StreamExt};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::{self, File};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter, Lines};
use tokio::time::{Instant, timeout_at};

/// How much is kept of the beginning of a log.
pub const HEAD_BYTES: usize = 64 << 20;
/// How much is kept of the end of a log.
pub const TAIL_BYTES: usize = 4 << 20;

/// The container that a log is from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Source {
    /// The service's role.
    pub role: Role,
    /// Number of the replica; of the try for the wait command.
    pub replica: u32,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.role, self.replica)
    }
}

impl Source {
    /// Reads what `Display` writes: `worker.3`.
    pub fn parse(text: &str) -> Option<Self> {
        let (role, replica) = text.split_once('.')?;
        let roles = [Role::Master, Role::Worker, Role::Readiness, Role::Wait];
        let role = roles.into_iter().find(|known| known.as_str() == role)?;
        let replica = replica.parse().ok()?;
        let source = Self { role, replica };
        // One name for each: not `+3`, not `03`.
        (source.to_string() == text).then_some(source)
    }
}

/// The evidence of all runs.
#[derive(Debug, Clone)]
pub struct Evidence {
    root: PathBuf,
    caps: Caps,
}

/// How much is kept of a log, in bytes.
#[derive(Debug, Clone, Copy)]
struct Caps {
    head: usize,
    tail: usize,
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

    fn logs_dir(&self, task: &TaskName, run: &str) -> PathBuf {
        self.run_dir(task, run).join("logs")
    }

    /// Writes a whole log, or what of it can be read until `deadline`. A file that was there is
    /// replaced only when the new one is complete, so that a log which was kept once is not lost to a
    /// later, poorer look.
    ///
    /// # Errors
    /// When the disk does not take it, or the log ends early; what was read so far is then kept.
    pub async fn keep_log<S>(
        &self,
        task: &TaskName,
        run: &str,
        source: Source,
        lines: S,
        deadline: Instant,
    ) -> Result<(), String>
    where
        S: Stream<Item = Result<LogLine, SwarmError>> + Unpin,
    {
        let dir = self.logs_dir(task, run);
        let text = |error: io::Error| format!("cannot write the log of {source}: {error}");
        fs::create_dir_all(&dir).await.map_err(text)?;
        let part = dir.join(format!("{source}.part"));
        let whole = dir.join(format!("{source}.log"));
        let read = write_log(&part, lines, self.caps, deadline)
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
        let mut entries = match fs::read_dir(self.logs_dir(task, run)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut sources = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            sources.extend(entry.file_name().to_str().and_then(parse_file_name));
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

    /// The tasks of which something is kept.
    ///
    /// # Errors
    /// When the directory cannot be read; one that is not there is empty.
    pub async fn tasks(&self) -> io::Result<Vec<TaskName>> {
        let mut entries = match fs::read_dir(&self.root).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut tasks = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            tasks.extend(name.to_str().and_then(|name| TaskName::parse(name).ok()));
        }
        Ok(tasks)
    }

    /// Forgets everything about a task.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub async fn remove(&self, task: &TaskName) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join(task.as_str())).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A kept log.
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

fn parse_file_name(name: &str) -> Option<Source> {
    Source::parse(name.strip_suffix(".log")?)
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

/// The outer error is the disk's, the inner one Docker's, or that of the clock.
async fn write_log<S>(
    path: &Path,
    mut lines: S,
    caps: Caps,
    deadline: Instant,
) -> io::Result<Result<(), String>>
where
    S: Stream<Item = Result<LogLine, SwarmError>> + Unpin,
{
    let mut file = BufWriter::new(File::create(path).await?);
    let mut head = 0;
    let mut tail = Tail::new(caps.tail);
    let mut result = Ok(());
    loop {
        let line = match timeout_at(deadline, lines.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(line))) => format_line(&line),
            Ok(Some(Err(error))) => {
                result = Err(error.to_string());
                break;
            }
            Err(_) => {
                result = Err("it could not be read to its end in time".to_owned());
                break;
            }
        };
        if head < caps.head {
            head += line.len();
            file.write_all(line.as_bytes()).await?;
        } else {
            tail.push(line);
        }
    }
    file.write_all(tail.finish().as_bytes()).await?;
    file.flush().await?;
    file.get_ref().sync_all().await?;
    Ok(result)
}

/// The last lines of a log that is too large.
struct Tail {
    cap: usize,
    lines: VecDeque<String>,
    bytes: usize,
    dropped_lines: u64,
    dropped_bytes: u64,
    /// Time of the line that was dropped last.
    dropped_at: String,
}

impl Tail {
    fn new(cap: usize) -> Self {
        Self {
            cap,
            lines: VecDeque::new(),
            bytes: 0,
            dropped_lines: 0,
            dropped_bytes: 0,
            dropped_at: String::new(),
        }
    }

    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > self.cap {
            let Some(first) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= first.len();
            self.dropped_lines += 1;
            self.dropped_bytes += first.len() as u64;
            self.dropped_at = first.split(' ').next().unwrap_or_default().to_owned();
        }
    }

    fn finish(self) -> String {
        let note = match self.dropped_lines {
            0 => String::new(),
            lines => format!(
                "{} stderr ... {lines} lines ({} bytes) left out ...\n",
                self.dropped_at, self.dropped_bytes
            ),
        };
        std::iter::once(note).chain(self.lines).collect()
    }
}

#[cfg(test)]
mod tests;
