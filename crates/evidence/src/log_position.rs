//! Skips lines that were already read when a log is read again from another position. Docker does not number lines, and
//! several may have the same time: a position is the last time and the number of lines with it, for each stream.

use atq_engine::{LogLine, LogStream};

/// The last time of a stream, and the number of lines with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct StreamPosition {
    at: String,
    count: u32,
}

/// The position up to which a log was read.
#[derive(Debug, Clone, Default)]
pub(super) struct LogPosition {
    stdout: StreamPosition,
    stderr: StreamPosition,
}

impl LogPosition {
    fn of_stream(&mut self, line: &LogLine) -> &mut StreamPosition {
        match line.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }

    /// Advances the position by one line.
    pub(super) fn advance(&mut self, line: &LogLine) {
        let position = self.of_stream(line);
        match position.at == line.at {
            true => position.count += 1,
            false => {
                position.at.clone_from(&line.at);
                position.count = 1;
            }
        }
    }

    /// The time of the last line.
    pub(super) fn last(&self) -> String {
        self.stdout.at.clone().max(self.stderr.at.clone())
    }

    /// Consumes a line of a second reading, which starts at an earlier position and must be in order.
    /// True if the line was not read before. Docker's times have nine digits and sort as text. Of the lines
    /// with the last time, the first ones count as read; if the second reading starts among them, some
    /// lines are treated as read although they were not.
    pub(super) fn is_new(&mut self, line: &LogLine) -> bool {
        let position = self.of_stream(line);
        if line.at == position.at && position.count > 0 {
            position.count -= 1;
            return false;
        }
        line.at >= position.at
    }
}
