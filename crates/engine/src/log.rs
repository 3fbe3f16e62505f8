//! Logs of containers.

use crate::EngineError;
use futures_util::stream::BoxStream;

/// A stream of log lines.
pub type LogLines = BoxStream<'static, Result<LogLine, EngineError>>;

/// The output stream of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output; also all output of a container with a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The time of the line, RFC 3339 with nanoseconds; empty if the engine has none.
    pub at: String,
    /// The output stream.
    pub stream: LogStream,
    /// The line without its terminator (`\n`, `\r\n`); invalid UTF-8 is replaced.
    pub text: String,
}

/// Selects a part of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only this number of last lines.
    pub tail: Option<u32>,
    /// Only lines from this time on, in nanoseconds since the Unix epoch.
    pub since: Option<u64>,
    /// Whether later lines follow. An engine may never end such a stream, even after the container has ended; the reader
    /// must stop it.
    pub follow: bool,
}

impl LogQuery {
    /// The last `count` lines.
    pub fn tail(count: u32) -> Self {
        Self {
            tail: Some(count),
            ..Self::default()
        }
    }

    /// The lines from a time on; `None`: all lines.
    pub fn since(nanos: Option<u64>) -> Self {
        Self {
            since: nanos,
            ..Self::default()
        }
    }
}
