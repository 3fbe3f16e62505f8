//! Times of a run.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The start of a run on both clocks. Publishing starts after the ramp, at `zero`.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    start_since_epoch: Duration,
    ramp: Duration,
}

impl Clock {
    /// Starts the clock.
    pub fn start(ramp: Duration) -> Self {
        Self {
            start: Instant::now(),
            start_since_epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            ramp,
        }
    }

    /// The start of the ramp.
    pub fn start_of_ramp(&self) -> Instant {
        self.start
    }

    /// The instant from which schedules count.
    pub fn zero(&self) -> Instant {
        self.start + self.ramp
    }

    /// Time since 1970.
    pub fn since_epoch(&self, instant: Instant) -> Duration {
        self.start_since_epoch + instant.saturating_duration_since(self.start)
    }
}
