//! Times of a run.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The start of a run on both clocks. Publishing starts after the ramp, at `publish_start`.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    start_since_epoch: Duration,
    ramp: Duration,
}

impl Clock {
    /// Starts the clock of a run without a ramp.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            start_since_epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            ramp: Duration::ZERO,
        }
    }

    /// The same start, with a ramp.
    pub fn with_ramp(self, ramp: Duration) -> Self {
        Self { ramp, ..self }
    }

    /// The start of the ramp.
    pub fn start_of_ramp(&self) -> Instant {
        self.start
    }

    /// The instant from which schedules count.
    pub fn publish_start(&self) -> Instant {
        self.start + self.ramp
    }

    /// Time since 1970.
    pub fn since_epoch(&self, instant: Instant) -> Duration {
        self.start_since_epoch + instant.saturating_duration_since(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_counts_from_the_start_however_long_the_preparation_takes() {
        let clock = Clock::start();
        std::thread::sleep(Duration::from_millis(20));
        let with_ramp = clock.with_ramp(Duration::from_secs(1));
        assert_eq!(with_ramp.start_of_ramp(), clock.start_of_ramp());
        assert_eq!(
            with_ramp.publish_start(),
            clock.publish_start() + Duration::from_secs(1)
        );
    }
}
