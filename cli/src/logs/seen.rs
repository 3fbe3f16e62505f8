//! Which lines somebody has. A container's lines have times that never go back, on each of its two
//! streams; so the last time on each, and how many lines had it, say where to go on.

use atq_api_spec::task::LogEntry;
use std::collections::HashMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Service, replica, stream.
type Key = (String, u32, String);

/// How far a stream was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Time of its last line.
    at: OffsetDateTime,
    /// Lines with this time.
    count: u64,
}

/// Before every line.
const START: Place = Place {
    at: OffsetDateTime::UNIX_EPOCH,
    count: 0,
};

impl Place {
    /// After one more line. A line without a time belongs to the one before it, and so does one whose
    /// time goes back: a replay meets them in the same order.
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

    fn order(self) -> (OffsetDateTime, u64) {
        (self.at, self.count)
    }
}

/// Every line that was given.
#[derive(Debug, Default)]
pub struct Seen {
    places: HashMap<Key, Place>,
    since: Option<OffsetDateTime>,
}

/// The lines of one connection: which of them are new.
#[derive(Debug, Default)]
pub struct Replay {
    before: HashMap<Key, Place>,
    now: HashMap<Key, Place>,
    since: Option<OffsetDateTime>,
}

impl Seen {
    /// Older lines of a container of which nothing was seen are not wanted.
    pub fn nothing_before(&mut self, time: Option<OffsetDateTime>) {
        self.since = time;
    }

    /// The line was given.
    pub fn note(&mut self, entry: &LogEntry) {
        let place = self.places.entry(key(entry)).or_insert(START);
        *place = place.after(entry);
    }

    /// For a connection that begins at the first line again.
    pub fn replay(&self) -> Replay {
        Replay {
            before: self.places.clone(),
            now: HashMap::new(),
            since: self.since,
        }
    }
}

impl Replay {
    /// For the first connection, all of whose lines are new.
    pub fn first() -> Self {
        Self::default()
    }

    /// Whether the line, the next of this connection, was not given before.
    pub fn is_new(&mut self, entry: &LogEntry) -> bool {
        let key = key(entry);
        let now = self.now.entry(key.clone()).or_insert(START);
        *now = now.after(entry);
        match self.before.get(&key) {
            Some(before) => now.order() > before.order(),
            None => self.since.is_none_or(|since| now.at >= since),
        }
    }
}

fn key(entry: &LogEntry) -> Key {
    (entry.service.clone(), entry.replica, entry.stream.clone())
}
