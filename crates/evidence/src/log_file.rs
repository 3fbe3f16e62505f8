//! Writes the file of a log: the whole log, or its beginning and its end. The middle of a huge log is not read, because
//! that would take minutes; its end usually holds the outcome of the test.

use super::format_line;
use super::log_position::LogPosition;
use atq_engine::{EngineError, LogLine, LogLines};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::time::{Instant, timeout_at};

/// Size limits of a kept log, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    pub(super) head: usize,
    pub(super) tail: usize,
}

/// Reopens a log at the given number of lines before its end.
pub type LastLines<'a> =
    &'a (dyn Fn(u32) -> BoxFuture<'a, Result<LogLines, EngineError>> + Send + Sync);

/// After the beginning, up to this many times the size of the tail is read line by line; in a longer log the rest up
/// to the tail is skipped.
const READ_AFTER_HEAD: usize = 4;
/// Docker splits a line of more than 16 KiB into several.
const SPLIT_BYTES: usize = 16 << 10;
/// Upper bound of the lines requested first; many of them may be long.
const MAX_LAST_LINES: usize = 50_000;
/// Lines requested if the first request timed out.
const RETRY_LAST_LINES: u32 = 200;

const TIMED_OUT: &str = "reading it timed out";

/// The result of reading the beginning of a log.
enum HeadEnd {
    /// The whole log was read.
    Whole,
    /// The log continues, but the time or size limit was reached.
    More,
    /// The engine returned an error.
    Failed(String),
}

/// Writes a log. The outer error is an I/O error, the inner one an error of the engine or a timeout.
pub(super) async fn write<S>(
    path: &Path,
    mut lines: S,
    last: Option<LastLines<'_>>,
    caps: Caps,
    deadline: Instant,
) -> io::Result<Result<(), String>>
where
    S: Stream<Item = Result<LogLine, EngineError>> + Unpin,
{
    let mut writer = Writer::create(path, caps).await?;
    let (until, max_beyond) = match last {
        Some(_) => (
            half_of_time(deadline),
            caps.tail.saturating_mul(READ_AFTER_HEAD),
        ),
        None => (deadline, usize::MAX),
    };
    let head = writer.read_head(&mut lines, max_beyond, until).await?;
    // Dropping the stream ends the request to Docker.
    drop(lines);
    let result = match (head, last) {
        (HeadEnd::Whole, _) => Ok(()),
        (HeadEnd::Failed(reason), _) => Err(reason),
        (HeadEnd::More, Some(last)) => writer.read_end(last, deadline).await,
        (HeadEnd::More, None) => Err(TIMED_OUT.to_owned()),
    };
    writer.finish().await?;
    Ok(result)
}

fn half_of_time(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

struct Writer {
    file: BufWriter<File>,
    caps: Caps,
    head: usize,
    lines: usize,
    tail: Tail,
    position: LogPosition,
}

impl Writer {
    async fn create(path: &Path, caps: Caps) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(File::create(path).await?),
            caps,
            head: 0,
            lines: 0,
            tail: Tail::new(caps.tail),
            position: LogPosition::default(),
        })
    }

    /// Reads until the end of the log, or at most `max_beyond` bytes beyond the beginning.
    async fn read_head<S>(
        &mut self,
        lines: &mut S,
        max_beyond: usize,
        deadline: Instant,
    ) -> io::Result<HeadEnd>
    where
        S: Stream<Item = Result<LogLine, EngineError>> + Unpin,
    {
        let mut beyond = 0;
        loop {
            let line = match timeout_at(deadline, lines.next()).await {
                Ok(None) => return Ok(HeadEnd::Whole),
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(error))) => return Ok(HeadEnd::Failed(error.to_string())),
                Err(_) => return Ok(HeadEnd::More),
            };
            self.position.advance(&line);
            self.lines += 1;
            let text = format_line(&line);
            if self.head < self.caps.head {
                self.head += text.len();
                self.file.write_all(text.as_bytes()).await?;
                continue;
            }
            beyond += text.len();
            self.tail.push(text);
            if beyond > max_beyond {
                return Ok(HeadEnd::More);
            }
        }
    }

    /// Reads the end of the log; requests fewer lines if the first request times out.
    async fn read_end(&mut self, last: LastLines<'_>, deadline: Instant) -> Result<(), String> {
        let mut problem = Err(TIMED_OUT.to_owned());
        for (count, until) in [
            (self.last_lines(), half_of_time(deadline)),
            (RETRY_LAST_LINES, deadline),
        ] {
            match timeout_at(until, self.collect_end(last, count)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => problem = Err(error.to_string()),
                Err(_) => {}
            }
        }
        problem
    }

    /// The number of lines that fill the tail, estimated from the average length so far.
    fn last_lines(&self) -> u32 {
        let read = self.head + self.tail.all_bytes();
        let average = (read / self.lines.max(1)).clamp(1, SPLIT_BYTES);
        let count = (self.caps.tail / average).clamp(RETRY_LAST_LINES as usize, MAX_LAST_LINES);
        u32::try_from(count).unwrap_or(RETRY_LAST_LINES)
    }

    async fn collect_end(&mut self, last: LastLines<'_>, count: u32) -> Result<(), EngineError> {
        let mut lines = last(count).await?;
        let mut skip = self.position.clone();
        let mut end = Tail::new(self.caps.tail);
        let (mut overlaps, mut first) = (false, String::new());
        while let Some(line) = lines.next().await {
            let line = line?;
            if !skip.is_new(&line) {
                overlaps = true;
                continue;
            }
            if first.is_empty() {
                first.clone_from(&line.at);
            }
            end.push(format_line(&line));
        }
        self.tail = match overlaps {
            true => std::mem::take(&mut self.tail).followed_by(end),
            false => Tail {
                gap: Some((self.position.last(), first)),
                ..end
            },
        };
        Ok(())
    }

    async fn finish(mut self) -> io::Result<()> {
        self.file.write_all(self.tail.finish().as_bytes()).await?;
        self.file.flush().await?;
        self.file.get_ref().sync_all().await
    }
}

/// The last lines of a log that is too large.
#[derive(Default)]
struct Tail {
    cap: usize,
    lines: VecDeque<String>,
    bytes: usize,
    dropped_lines: u64,
    dropped_bytes: u64,
    /// Time of the last dropped line.
    dropped_at: String,
    /// Times of the last line before a gap and of the first line after it.
    gap: Option<(String, String)>,
}

impl Tail {
    fn new(cap: usize) -> Self {
        Self {
            cap,
            ..Self::default()
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

    fn all_bytes(&self) -> usize {
        let dropped = usize::try_from(self.dropped_bytes).unwrap_or(usize::MAX);
        self.bytes.saturating_add(dropped)
    }

    /// Appends the lines of `end`.
    fn followed_by(mut self, end: Self) -> Self {
        if end.dropped_lines > 0 {
            self.dropped_lines += self.lines.len() as u64 + end.dropped_lines;
            self.dropped_bytes += self.bytes as u64 + end.dropped_bytes;
            self.dropped_at = end.dropped_at;
            self.lines.clear();
            self.bytes = 0;
        }
        end.lines.into_iter().for_each(|line| self.push(line));
        self
    }

    fn finish(self) -> String {
        let note = match (self.gap, self.dropped_lines) {
            (Some((before, after)), _) => format!(
                "{before} stderr ... the log is too large: lines between {before} and {after} were omitted ...\n"
            ),
            (None, 0) => String::new(),
            (None, lines) => format!(
                "{} stderr ... {lines} lines ({} bytes) omitted ...\n",
                self.dropped_at, self.dropped_bytes
            ),
        };
        std::iter::once(note).chain(self.lines).collect()
    }
}

/// The last lines of a log file, without their times: at most `count`, each of at most `chars` characters.
///
/// # Errors
/// When the file cannot be read.
pub(super) async fn last_texts(path: &Path, count: usize, chars: usize) -> io::Result<Vec<String>> {
    use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
    /// Bytes read from the end of the file.
    const BYTES: u64 = 64 << 10;
    let mut file = File::open(path).await?;
    let length = file.metadata().await?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))
        .await?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    if length > BYTES && lines.len() > 1 {
        // The first line is cut off.
        lines.remove(0);
    }
    let texts = lines.iter().map(|line| super::parse_line(line).text);
    let mut texts: Vec<String> = texts.filter(|text| !text.trim().is_empty()).collect();
    texts.drain(..texts.len().saturating_sub(count));
    let short = |text: String| text.chars().take(chars).collect();
    Ok(texts.into_iter().map(short).collect())
}
