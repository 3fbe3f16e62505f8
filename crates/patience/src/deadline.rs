//! The end of a wait.

use std::time::Duration;
use tokio::time::Instant;

/// The end of a wait, with its length for the message.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    length: Duration,
}

impl Deadline {
    /// `length` from now.
    pub fn after(length: Duration) -> Self {
        Self {
            at: Instant::now() + length,
            length,
        }
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        Instant::now() >= self.at
    }

    /// When it passes.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The time that is left until it passes.
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Its whole length in seconds, for messages.
    pub fn seconds(&self) -> u64 {
        self.length.as_secs()
    }
}
