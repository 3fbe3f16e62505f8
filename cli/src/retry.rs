//! Retry policy with exponential backoff for lost connections.

use crate::error::CliError;
use crate::out::Out;
use atq_retry::{Backoff, Pauses};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Retry time of a stream after the connection to the Director was lost.
pub const FOLLOW_RETRY_FOR: Duration = Duration::from_secs(300);
/// Retry time of a single request.
pub const REQUEST_RETRY_FOR: Duration = Duration::from_secs(10);
/// A stream that was open for this long counts as a working connection, even without data.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// The pauses between attempts.
const BACKOFF: Pauses = Pauses {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(10),
};

/// Retries temporary errors for a limited time.
#[derive(Debug)]
pub struct Retry {
    retry_for: Duration,
    lost_at: Option<Instant>,
    backoff: Backoff,
}

impl Retry {
    /// Retries for this time after a connection was lost.
    pub fn within(retry_for: Duration) -> Self {
        Self {
            retry_for,
            lost_at: None,
            backoff: Backoff::new(BACKOFF),
        }
    }

    /// Records a working connection: the retry time and the backoff start over.
    pub fn connected(&mut self) {
        self.lost_at = None;
        self.backoff.reset();
    }

    /// Records that a stream opened at `since` was lost, and logs the first loss.
    pub fn disconnected(&mut self, out: Out, since: Instant, error: &CliError) {
        if since.elapsed() >= STABLE_AFTER {
            self.connected();
        }
        if self.lost_at.is_none() {
            out.progress(format_args!("{error}; retrying"));
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The error itself, when it is permanent or the retry time has passed.
    pub async fn wait(&mut self, error: CliError) -> Result<(), CliError> {
        let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
        let pause = self
            .backoff
            .next_pause()
            .max(error.retry_after().unwrap_or_default());
        if !is_temporary(&error) || lost_at.elapsed() + pause > self.retry_for {
            return Err(error);
        }
        sleep(pause).await;
        Ok(())
    }
}

/// Whether the same request may succeed later: the Director does not respond, or it or a proxy is busy.
pub fn is_temporary(error: &CliError) -> bool {
    matches!(error, CliError::Unreachable { .. } | CliError::Busy { .. })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn unreachable() -> CliError {
        CliError::Unreachable {
            url: String::new(),
            reason: String::new(),
        }
    }

    #[tokio::test]
    async fn the_retry_time_ends_and_starts_over() {
        let mut retry = Retry::within(Duration::from_millis(350));
        retry.wait(unreachable()).await.unwrap();
        // Another 400 ms would exceed the limit.
        retry.wait(unreachable()).await.unwrap_err();
        retry.connected();
        assert!(retry.lost_at.is_none());
        retry.wait(unreachable()).await.unwrap();
    }

    #[tokio::test]
    async fn permanent_errors_are_not_retried() {
        let mut retry = Retry::within(FOLLOW_RETRY_FOR);
        let refused = |status| CliError::Rejected {
            status,
            code: String::new(),
            message: String::new(),
            faults: Vec::new(),
        };
        retry.wait(refused(404)).await.unwrap_err();
        retry
            .wait(CliError::failed("disk full", ""))
            .await
            .unwrap_err();
        retry.wait(busy(None)).await.unwrap();
    }

    fn busy(seconds: Option<u64>) -> CliError {
        CliError::Busy {
            status: 503,
            code: String::new(),
            message: String::new(),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_respected() {
        let mut retry = Retry::within(REQUEST_RETRY_FOR);
        let begun = Instant::now();
        retry.wait(busy(Some(5))).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(5));
        // A pause never exceeds the deadline.
        retry.wait(busy(Some(6))).await.unwrap_err();
    }
}
