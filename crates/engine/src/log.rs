//! Logs of containers.

use crate::EngineError;
use futures_util::stream::BoxStream;

/// A log as an engine gives it.
pub type LogLines = BoxStream<'static, Result<LogLine, EngineError>>;

/// Where a log line was written.
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
    /// When it was written, RFC 3339 with nanoseconds, as Docker gives it; empty when it gave none.
    pub at: String,
    /// Where it was written.
    pub stream: LogStream,
    /// The line without its end (`\n`, `\r\n`); bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only the last so many lines.
    pub tail: Option<u32>,
    /// Only lines of this time and later: nanoseconds since the Unix epoch.
    pub since: Option<u64>,
    /// Go on with what is written later. Docker never ends such a log by itself, also not when the
    /// container has ended: whoever reads it has to see to that.
    pub follow: bool,
}
