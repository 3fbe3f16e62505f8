//! The current time. In tests it follows the paused clock of tokio.

use atq_task::timestamp::Timestamp;
use time::OffsetDateTime;
use tokio::time::Instant;

/// A source of time.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The system clock.
    System,
    /// Tokio's clock relative to a fixed point; it stops while tokio's time is paused.
    Tokio {
        /// The time of the fixed point.
        epoch: Timestamp,
        /// The fixed point on tokio's clock.
        started: Instant,
    },
}

impl Clock {
    /// A clock that starts at `epoch` and follows tokio's time.
    pub fn tokio(epoch: Timestamp) -> Self {
        Self::Tokio {
            epoch,
            started: Instant::now(),
        }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => OffsetDateTime::now_utc().into(),
            Self::Tokio { epoch, started } => epoch.plus(started.elapsed()),
        }
    }
}
