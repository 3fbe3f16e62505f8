//! Deadlines.

use std::time::Duration;
use tokio::time::Instant;

/// A deadline; keeps its length for messages.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    length: Duration,
}

impl Deadline {
    /// A deadline `length` from now.
    pub fn after(length: Duration) -> Self {
        Self {
            at: Instant::now() + length,
            length,
        }
    }

    /// Whether the deadline has passed.
    pub fn passed(&self) -> bool {
        Instant::now() >= self.at
    }

    /// The instant of the deadline.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The remaining time.
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// The total length in seconds, for messages.
    pub fn seconds(&self) -> u64 {
        self.length.as_secs()
    }
}
