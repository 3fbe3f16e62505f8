//! The position in the log of a task. Times never decrease within a stream of a container, so the last time of each stream and
//! the number of lines with that time identify the position.

use atq_api_spec::task::LogEntry;
use std::collections::HashMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Service, replica, stream.
type Key = (String, u32, String);

/// The position in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct StreamPosition {
    /// Time of the last line.
    at: OffsetDateTime,
    /// Number of lines with this time.
    count: u64,
}

/// The position before the first line.
const START: StreamPosition = StreamPosition {
    at: OffsetDateTime::UNIX_EPOCH,
    count: 0,
};

impl StreamPosition {
    /// The position after another line. A line without a time, or with an earlier time, counts as part of the previous time: a
    /// replay has the same order.
    fn after(self, entry: &LogEntry) -> Self {
        let at = OffsetDateTime::parse(&entry.at, &Rfc3339).unwrap_or(self.at);
        match at > self.at {
            true => Self { at, count: 1 },
            false => Self {
                count: self.count + 1,
                ..self
            },
        }
    }
}

/// The position after all passed lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPosition {
    positions: HashMap<Key, StreamPosition>,
    since: Option<OffsetDateTime>,
}

/// Detects the new lines of a repeated connection.
#[derive(Debug, Default)]
pub struct Replay {
    before: HashMap<Key, StreamPosition>,
    now: HashMap<Key, StreamPosition>,
    since: Option<OffsetDateTime>,
}

impl LogPosition {
    /// Skips older lines of containers without any line so far.
    pub fn skip_before(&mut self, time: Option<OffsetDateTime>) {
        self.since = time;
    }

    /// Records a passed line.
    pub fn record(&mut self, entry: &LogEntry) {
        let position = self.positions.entry(key(entry)).or_insert(START);
        *position = position.after(entry);
    }

    /// The replay for a connection that starts at the first line again.
    pub fn replay(&self) -> Replay {
        Replay {
            before: self.positions.clone(),
            now: HashMap::new(),
            since: self.since,
        }
    }
}

impl Replay {
    /// The replay for the first connection: all lines are new.
    pub fn first() -> Self {
        Self::default()
    }

    /// Whether the next line of this connection was not passed before.
    pub fn is_new(&mut self, entry: &LogEntry) -> bool {
        let key = key(entry);
        let now = self.now.entry(key.clone()).or_insert(START);
        *now = now.after(entry);
        match self.before.get(&key) {
            Some(before) => *now > *before,
            None => self.since.is_none_or(|since| now.at >= since),
        }
    }
}

fn key(entry: &LogEntry) -> Key {
    (entry.service.clone(), entry.replica, entry.stream.clone())
}
