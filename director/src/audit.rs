//! The audit log: one JSON line for each change and each refused request, in `datadir/audit.log`.
//!
//! One thread writes the lines, so that requests never wait for the disk. Lines that it cannot take are counted, and the
//! next line contains their number. The files are rotated by size. Lines of refusals are limited, because clients without
//! access could otherwise push all others out of the files.

use atq_task::timestamp::Timestamp;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::oneshot;

/// Name of the current file; a number is appended to earlier ones.
const FILE: &str = "audit.log";
/// Size from which a file is rotated.
const MAX_BYTES: u64 = 16 << 20;
/// Number of files, with the current one.
const FILES: u32 = 4;
/// Maximum number of lines that wait for the disk.
const QUEUE: usize = 1024;
/// Number of refusals that are written at once.
const REFUSALS: u32 = 1000;
/// Time after which a further refusal may be written.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum time for the last lines at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A client has changed something.
    Changed,
    /// A client has read join tokens of the Swarm.
    Disclosed,
    /// A request was refused.
    Refused,
}

/// A line of the log. Contains no header, no query and no body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What happened.
    pub outcome: Outcome,
    /// Name of the client, if it was identified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// How it was identified: `token`, `session`, `socket`, `control` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<&'static str>,
    /// Public part of its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The other end of the connection.
    pub peer: String,
    /// Method of the request.
    pub method: String,
    /// Path of the request, without its query.
    pub path: String,
    /// The task, bundle or token that was changed, if the path does not contain it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Status of the response.
    pub status: u16,
    /// Code of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
}

/// An entry as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    entry: &'a Entry,
    /// Number of lines before this one that were not written.
    #[serde(skip_serializing_if = "is_zero")]
    dropped: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

enum Message {
    Entry(Timestamp, Entry),
    Flush(oneshot::Sender<()>),
}

/// The audit log. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Audit {
    /// Opens the log in `dir` and starts its thread. Blocks.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let log = Log::open(dir.join(FILE), MAX_BYTES)?;
        let (queue, messages) = sync_channel(QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let writer = Writer {
            log,
            dropped: Arc::clone(&dropped),
            refusals: Allowance::new(REFUSALS, REFUSAL_INTERVAL),
        };
        thread::Builder::new()
            .name("atq-audit".to_owned())
            .spawn(move || writer.run(&messages))?;
        Ok(Self { queue, dropped })
    }

    /// Adds an entry. Does not wait.
    pub fn add(&self, entry: Entry) {
        let now = OffsetDateTime::now_utc().into();
        if self.queue.try_send(Message::Entry(now, entry)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all entries are written, up to a second.
    pub async fn flush(&self) {
        let flushed = async {
            let (done, written) = oneshot::channel();
            let mut message = Message::Flush(done);
            while let Err(error) = self.queue.try_send(message) {
                message = match error {
                    std::sync::mpsc::TrySendError::Full(message) => message,
                    std::sync::mpsc::TrySendError::Disconnected(_) => return,
                };
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let _ = written.await;
        };
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, flushed).await;
    }
}

struct Writer {
    log: Log,
    dropped: Arc<AtomicU64>,
    refusals: Allowance,
}

impl Writer {
    /// Writes until all senders are dropped.
    fn run(mut self, messages: &Receiver<Message>) {
        let mut is_failing = false;
        while let Ok(message) = messages.recv() {
            match message {
                Message::Flush(done) => drop(done.send(())),
                Message::Entry(time, entry) => {
                    let failed = self.write(time, &entry).err();
                    if let Some(error) = failed.as_ref().filter(|_| !is_failing) {
                        tracing::error!(%error, "cannot write the audit log; retrying with each line");
                    }
                    is_failing = failed.is_some();
                }
            }
        }
    }

    fn write(&mut self, time: Timestamp, entry: &Entry) -> io::Result<()> {
        if entry.outcome == Outcome::Refused && !self.refusals.take(Instant::now()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let line = Line {
            time: time.to_string(),
            entry,
            dropped,
        };
        let written = serde_json::to_vec(&line)
            .map_err(io::Error::from)
            .and_then(|text| self.log.append(text));
        if written.is_err() {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
        written
    }
}

/// The files.
struct Log {
    path: PathBuf,
    /// `None` after a failed rotation.
    file: Option<File>,
    bytes: u64,
    max_bytes: u64,
}

impl Log {
    fn open(path: PathBuf, max_bytes: u64) -> io::Result<Self> {
        let file = append_to(&path)?;
        Ok(Self {
            bytes: file.metadata()?.len(),
            file: Some(file),
            path,
            max_bytes,
        })
    }

    fn append(&mut self, mut line: Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        let length = line.len() as u64;
        if self.bytes > 0 && self.bytes + length > self.max_bytes {
            self.rotate()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let file = append_to(&self.path)?;
                self.bytes = file.metadata()?.len();
                closed.insert(file)
            }
        };
        if let Err(error) = file.write_all(&line) {
            // On a full disk, a part of a line must not become the beginning of the next one.
            file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for number in (1..FILES).rev() {
            let from = match number {
                1 => self.path.clone(),
                _ => self.numbered(number - 1),
            };
            atq_files::if_there(fs::rename(from, self.numbered(number)))?;
        }
        self.bytes = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path)
}

/// Limits how often something happens: a number at once, and one more after each interval.
struct Allowance {
    left: u32,
    max: u32,
    interval: Duration,
    /// Time of the last refill.
    since: Instant,
}

impl Allowance {
    fn new(max: u32, interval: Duration) -> Self {
        Self {
            left: max,
            max,
            interval,
            since: Instant::now(),
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed =
            now.saturating_duration_since(self.since).as_nanos() / self.interval.as_nanos();
        if let Ok(passed @ 1..) = u32::try_from(passed) {
            self.left = self.left.saturating_add(passed).min(self.max);
            self.since += self.interval * passed;
        }
        let is_allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_allowed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::os::unix::fs::PermissionsExt;

    fn entry(outcome: Outcome, path: &str) -> Entry {
        Entry {
            outcome,
            name: Some("ci".to_owned()),
            role: Some("runner"),
            via: Some("token"),
            token: Some("01020304ff".to_owned()),
            peer: "127.0.0.1:4000".to_owned(),
            method: "PUT".to_owned(),
            path: path.to_owned(),
            on: None,
            status: 200,
            code: None,
        }
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn each_entry_is_a_line_that_only_the_owner_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path()).unwrap();
        audit.add(entry(Outcome::Changed, "/task"));
        audit.flush().await;
        drop(audit);
        // A later Director appends.
        let audit = Audit::open(dir.path()).unwrap();
        audit.add(entry(Outcome::Refused, "/task/x"));
        audit.flush().await;
        let path = dir.path().join(FILE);
        let lines = lines(&path);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["outcome"], "changed");
        assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(lines[1]["path"], "/task/x");
        assert_eq!(lines[1].get("dropped"), None);
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_files_are_bounded_in_size_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path().join(FILE), 1000).unwrap();
        for number in 0..1000 {
            log.append(format!("line {number}").into_bytes()).unwrap();
        }
        let mut names = Vec::new();
        for found in fs::read_dir(dir.path()).unwrap() {
            let found = found.unwrap();
            assert!(found.metadata().unwrap().len() <= 1000);
            names.push(found.file_name().into_string().unwrap());
        }
        names.sort();
        assert_eq!(
            names,
            ["audit.log", "audit.log.1", "audit.log.2", "audit.log.3"]
        );
        let newest = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(newest.ends_with("line 999\n"));
    }

    #[tokio::test]
    async fn a_flood_of_refusals_leaves_room_for_changes_and_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path()).unwrap();
        let begun = Instant::now();
        const FLOOD: u64 = 200_000;
        for _ in 0..FLOOD {
            audit.add(entry(Outcome::Refused, "/task"));
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "requests waited");
        audit.flush().await;
        audit.add(entry(Outcome::Changed, "/task"));
        audit.flush().await;
        let lines = lines(&dir.path().join(FILE));
        assert!(lines.len() < 1500, "{} lines", lines.len());
        assert_eq!(lines.last().unwrap()["outcome"], "changed");
        let dropped: u64 = lines
            .iter()
            .filter_map(|line| line["dropped"].as_u64())
            .sum();
        assert_eq!(lines.len() as u64 + dropped, FLOOD + 1);
    }

    #[test]
    fn refusals_are_allowed_again_after_some_time() {
        let mut allowance = Allowance::new(2, Duration::from_secs(1));
        let start = allowance.since;
        let after = |seconds| start + Duration::from_millis(seconds);
        assert!(allowance.take(start) && allowance.take(start) && !allowance.take(start));
        assert!(!allowance.take(after(900)));
        assert!(allowance.take(after(1100)) && !allowance.take(after(1900)));
        assert!(allowance.take(after(2000)));
        let late = after(1_000_000);
        assert!(allowance.take(late) && allowance.take(late) && !allowance.take(late));
    }
}
