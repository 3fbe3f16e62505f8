//! The time, such that paused time in tests moves it too.

use atq_task::timestamp::Timestamp;
use time::OffsetDateTime;
use tokio::time::Instant;

/// Where the time comes from.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The system's clock.
    System,
    /// Tokio's clock, counted from a fixed point: stands still while tokio's time is paused.
    Tokio {
        /// The fixed point.
        epoch: Timestamp,
        /// When it was.
        started: Instant,
    },
}

impl Clock {
    /// A clock that begins at `epoch` and moves with tokio's time.
    pub fn tokio(epoch: Timestamp) -> Self {
        Self::Tokio {
            epoch,
            started: Instant::now(),
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => OffsetDateTime::now_utc().into(),
            Self::Tokio { epoch, started } => epoch.plus(started.elapsed()),
        }
    }
}
