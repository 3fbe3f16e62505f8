//! Which lines of a log were read already, when it is read once more from another place. Docker gives lines no numbers,
//! and several may have the same time: they are told apart by that time and by how many had it, for each stream.

use atq_engine::{LogLine, LogStream};

/// The last time of a stream, and how many lines had it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Point {
    at: String,
    count: u32,
}

/// How far a log was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    stdout: Point,
    stderr: Point,
}

impl Seen {
    /// A line was read.
    pub(super) fn note(&mut self, line: &LogLine) {
        let point = match line.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        match point.at == line.at {
            true => point.count += 1,
            false => {
                point.at.clone_from(&line.at);
                point.count = 1;
            }
        }
    }

    /// The time of the last line.
    pub(super) fn last(&self) -> String {
        self.stdout.at.clone().max(self.stderr.at.clone())
    }

    /// Reads on from somewhere.
    pub(super) fn replay(&self) -> Replay {
        Replay {
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
        }
    }
}

/// A later reading of the same log, in order.
#[derive(Debug)]
pub(super) struct Replay {
    stdout: Point,
    stderr: Point,
}

impl Replay {
    /// Whether the line was not read before. Times as Docker writes them, with nine digits, sort as texts. Of the lines
    /// with the last time those count as read that come first; when the reading began in the middle of them, some
    /// are missing, and are on the safe side.
    pub(super) fn is_new(&mut self, line: &LogLine) -> bool {
        let point = match line.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        if line.at == point.at && point.count > 0 {
            point.count -= 1;
            return false;
        }
        line.at >= point.at
    }
}
