//! Logs of Swarm tasks: decodes Docker's framing into lines.
//!
//! Without a terminal, each message is a frame: a byte for the stream, three zeroes, the length (four bytes,
//! big-endian), the message. Stream 3 contains an error of Docker itself, such as an unreachable node, under HTTP
//! status 200. With a terminal there are no frames, only lines that end with `\r\n`.
//! In both cases a line longer than 16 KiB is split into pieces, each with its own time.

use super::client::{Call, Client, connection_error};
use crate::error::SwarmError;
use atq_engine::{LogLine, LogQuery, LogStream};
use bollard::Docker;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Idle timeout within a log that is not followed: it is read from files, so that a longer silence is a hang.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum length of a frame; a longer one is an error.
const MAX_FRAME: usize = 16 << 20;
/// Maximum length of a line; a longer one is split, so that memory is bounded.
const MAX_LINE: usize = 1 << 20;
/// Length at which Docker's log drivers split lines.
const PIECE: usize = 16 << 10;

/// Decodes the bytes of a log into lines.
pub(super) struct Decoder {
    tty: bool,
    buffer: Vec<u8>,
    stdout: Partial,
    stderr: Partial,
    lines: VecDeque<LogLine>,
    error: Option<String>,
}

/// The beginning of an incomplete line.
#[derive(Default)]
struct Partial {
    at: String,
    text: Vec<u8>,
}

impl Decoder {
    pub fn new(tty: bool) -> Self {
        Self {
            tty,
            buffer: Vec::new(),
            stdout: Partial::default(),
            stderr: Partial::default(),
            lines: VecDeque::new(),
            error: None,
        }
    }

    /// Adds bytes. Complete lines are returned by [`Decoder::line`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let used = match self.tty {
            true => self.take_raw(&buffer),
            false => self.take_frames(&buffer),
        };
        self.buffer = buffer;
        self.buffer.drain(..used);
    }

    /// The next complete line.
    pub fn line(&mut self) -> Option<LogLine> {
        self.lines.pop_front()
    }

    /// Marks the end of the log: completes the last lines, and returns Docker's error if there was one.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.buffer);
        if self.tty && !rest.is_empty() {
            self.message(LogStream::Stdout, &rest);
        } else if !rest.is_empty() {
            self.fail("the log ends in the middle of a frame".to_owned());
        }
        self.flush(LogStream::Stdout);
        self.flush(LogStream::Stderr);
        self.error.take()
    }

    fn take_raw(&mut self, mut bytes: &[u8]) -> usize {
        let all = bytes.len();
        loop {
            let end = bytes.iter().position(|b| *b == b'\n').map(|at| at + 1);
            let cut = || (bytes.len() >= MAX_LINE).then(|| last_piece(bytes));
            let Some(end) = end.or_else(cut) else {
                return all - bytes.len();
            };
            let (line, rest) = bytes.split_at(end);
            self.message(LogStream::Stdout, line);
            bytes = rest;
        }
    }

    fn take_frames(&mut self, mut bytes: &[u8]) -> usize {
        let all = bytes.len();
        while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
            let [kind, 0, 0, 0, a, b, c, d] = *header else {
                self.fail("the log has no valid frames".to_owned());
                return all;
            };
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if length > MAX_FRAME {
                self.fail(format!("the log has a frame of {length} bytes"));
                return all;
            }
            let Some((message, rest)) = rest.split_at_checked(length) else {
                break;
            };
            self.frame(kind, message);
            bytes = rest;
        }
        all - bytes.len()
    }

    fn frame(&mut self, kind: u8, message: &[u8]) {
        match kind {
            0 | 1 => self.message(LogStream::Stdout, message),
            2 => self.message(LogStream::Stderr, message),
            3 => self.fail(String::from_utf8_lossy(message).trim().to_owned()),
            other => self.fail(format!("the log has a frame of unknown kind {other}")),
        }
    }

    /// Keeps the first error, which is the cause of later ones.
    fn fail(&mut self, reason: String) {
        self.error.get_or_insert(reason);
    }

    fn partial(&mut self, stream: LogStream) -> &mut Partial {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }

    /// Handles a message: a time, and a line or a piece of one.
    fn message(&mut self, stream: LogStream, message: &[u8]) {
        let (at, text) = split_time(message);
        let tty = self.tty;
        let partial = self.partial(stream);
        if partial.text.is_empty() {
            partial.at = at.to_owned();
        }
        match tty {
            true => append_pieces(&mut partial.text, text),
            false => partial.text.extend_from_slice(text),
        }
        if partial.text.ends_with(b"\n") || partial.text.len() >= MAX_LINE {
            self.complete(stream);
        }
    }

    fn flush(&mut self, stream: LogStream) {
        if !self.partial(stream).text.is_empty() {
            self.complete(stream);
        }
    }

    fn complete(&mut self, stream: LogStream) {
        let Partial { at, text } = std::mem::take(self.partial(stream));
        let line = text.strip_suffix(b"\n").unwrap_or(&text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.lines.push_back(LogLine {
            at,
            stream,
            text: String::from_utf8_lossy(line).into_owned(),
        });
    }
}

/// Without frames, the pieces of a long line follow each other, each with a time.
fn append_pieces(line: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(end) = piece_end(text) {
        let (piece, rest) = text.split_at(end);
        line.extend_from_slice(piece);
        text = split_time(rest).1;
    }
    line.extend_from_slice(text);
}

/// The end of a piece, where the time of the next one begins. A piece that was split within a character is longer:
/// the log driver has replaced each of its bytes by three.
fn piece_end(text: &[u8]) -> Option<usize> {
    let has_stamp = |at: &usize| text.get(*at..).is_some_and(begins_with_stamp);
    (PIECE..=text.len().min(3 * PIECE)).find(has_stamp)
}

/// The beginning of the last piece of an incomplete line, so that it is not split within a time; the length of the
/// line if it has no pieces.
fn last_piece(line: &[u8]) -> usize {
    let mut begin = 0;
    while let Some(end) = piece_end(split_time(&line[begin..]).1) {
        begin += line[begin..].len() - split_time(&line[begin..]).1.len() + end;
    }
    if begin == 0 { line.len() } else { begin }
}

/// Whether the bytes begin with a time in Docker's fixed-length format, `2026-11-21T03:37:48.000000001Z `.
fn begins_with_stamp(bytes: &[u8]) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00.000000000Z ";
    bytes.len() >= SHAPE.len()
        && SHAPE.iter().zip(bytes).all(|(shape, byte)| match shape {
            b'0' => byte.is_ascii_digit(),
            shape => byte == shape,
        })
}

/// Splits `2026-11-21T03:37:48.000000001Z text`. Without a time, everything is text.
fn split_time(message: &[u8]) -> (&str, &[u8]) {
    let looks_like_time = |text: &str| {
        let bytes = text.as_bytes();
        bytes.len() >= 20 && bytes[0].is_ascii_digit() && bytes[4] == b'-' && bytes[10] == b'T'
    };
    // A time has at most 35 bytes: nanoseconds, and an offset instead of `Z`.
    let space = message.iter().take(36).position(|b| *b == b' ');
    let time = space.and_then(|at| std::str::from_utf8(&message[..at]).ok());
    match time.filter(|text| looks_like_time(text)) {
        Some(time) => (time, &message[time.len() + 1..]),
        None => ("", message),
    }
}

/// A log that is being read.
struct Reading {
    client: Arc<Client>,
    call: Call,
    body: BoxStream<'static, Result<Vec<u8>, reqwest::Error>>,
    decoder: Decoder,
    /// Whether the log is followed, so that silence is normal.
    follows: bool,
    /// Set at the end of the log: the error to return after the last line.
    ended: Option<Option<SwarmError>>,
}

/// The lines of the log of the Swarm task `task_id`.
pub(super) async fn open(
    client: Arc<Client>,
    task_id: &str,
    tty: bool,
    query: LogQuery,
) -> Result<BoxStream<'static, Result<LogLine, SwarmError>>, SwarmError> {
    let call = Call::read(format!("the log of Swarm task `{task_id}`"));
    let path = format!("/tasks/{task_id}/logs");
    let tail = query.tail.map_or("all".to_owned(), |n| n.to_string());
    let follows = query.follow;
    let since = query.since.map(|nanos| ("since", seconds(nanos)));
    let query: Vec<(&str, String)> = [
        ("stdout", "true".to_owned()),
        ("stderr", "true".to_owned()),
        ("timestamps", "true".to_owned()),
        ("follow", follows.to_string()),
        ("tail", tail),
    ]
    .into_iter()
    .chain(since)
    .collect();
    let begin = async |docker: Docker| client.get(docker, &path, &query).await;
    let response = client.send(&call, begin).await?;
    let body = response.bytes_stream().map(|part| part.map(|b| b.to_vec()));
    let reading = Reading {
        client,
        call: call.with_timeout(IDLE_TIMEOUT),
        body: body.boxed(),
        decoder: Decoder::new(tty),
        follows,
        ended: None,
    };
    Ok(stream::unfold(reading, next).boxed())
}

/// Docker's format of times: seconds since the Unix epoch, with nine decimals.
fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

async fn next(mut reading: Reading) -> Option<(Result<LogLine, SwarmError>, Reading)> {
    loop {
        if let Some(line) = reading.decoder.line() {
            return Some((Ok(line), reading));
        }
        if let Some(error) = &mut reading.ended {
            return error.take().map(|error| (Err(error), reading));
        }
        reading.read().await;
    }
}

impl Reading {
    async fn read(&mut self) {
        let part = match self.follows {
            true => Ok(self.body.next().await),
            false => timeout(IDLE_TIMEOUT, self.body.next()).await,
        };
        match part {
            Ok(Some(Ok(bytes))) => self.decoder.push(&bytes),
            Ok(Some(Err(error))) => {
                let error = self
                    .client
                    .to_swarm_error(&self.call, connection_error(error));
                self.end(Some(error));
            }
            Ok(None) => self.end(None),
            Err(_) => self.end(Some(self.call.timed_out())),
        }
    }

    fn end(&mut self, error: Option<SwarmError>) {
        let reason = self.decoder.finish();
        let own = reason.map(|reason| self.call.failed(reason));
        self.ended = Some(error.or(own));
    }
}

#[cfg(test)]
mod tests;
