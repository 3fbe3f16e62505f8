//! What a connection is doing, and until when it may go on doing it.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long the head of a request may take; a new connection begins with one.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may rest between two requests: longer than the pools of usual clients keep it, so that the
/// client closes it and no request meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request is awaited, or has come in part.
    Head(Instant),
    /// A request was answered, nothing of another one has come.
    Idle(Instant),
    /// A request is being read, worked on or answered.
    Busy,
}

impl Phase {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Head(since) => Some(since + HEAD_TIMEOUT),
            Self::Idle(since) => Some(since + IDLE_TIMEOUT),
            Self::Busy => None,
        }
    }
}

/// What a connection is doing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Activity(Arc<watch::Sender<Phase>>);

impl Activity {
    /// That of a new connection.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Head(Instant::now()))))
    }

    /// Bytes have come.
    pub fn received(&self) {
        self.0.send_if_modified(|phase| {
            let begins = matches!(phase, Phase::Idle(_));
            if begins {
                *phase = Phase::Head(Instant::now());
            }
            begins
        });
    }

    /// A request is there; it is over when the guard is dropped.
    pub fn request(&self) -> InRequest {
        self.0.send_replace(Phase::Busy);
        InRequest(self.clone())
    }

    /// Since when no request is under way; `None` while one is.
    pub fn waiting_since(&self) -> Option<Instant> {
        match *self.0.borrow() {
            Phase::Head(since) | Phase::Idle(since) => Some(since),
            Phase::Busy => None,
        }
    }

    /// Waits until the connection has rested for too long.
    pub async fn expired(&self) {
        let mut phases = self.0.subscribe();
        loop {
            let deadline = phases.borrow_and_update().deadline();
            let over = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => return,
                // The sender lives as long as `self`.
                _ = phases.changed() => {}
            }
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct InRequest(Activity);

impl Drop for InRequest {
    fn drop(&mut self) {
        self.0.0.send_replace(Phase::Idle(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    async fn expires_within(activity: &Activity, time: Duration) -> bool {
        timeout(time, activity.expired()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_ten_seconds_a_pause_two_minutes_and_a_request_all_the_time() {
        let second = Duration::from_secs(1);
        let activity = Activity::new();
        assert!(!expires_within(&activity, HEAD_TIMEOUT - second).await);
        // More bytes of the same head put nothing off.
        activity.received();
        assert!(expires_within(&activity, 2 * second).await);
        let request = activity.request();
        assert!(!expires_within(&activity, 100 * IDLE_TIMEOUT).await);
        assert_eq!(activity.waiting_since(), None);
        drop(request);
        assert!(!expires_within(&activity, IDLE_TIMEOUT - second).await);
        // The next head begins with its first byte.
        activity.received();
        assert!(!expires_within(&activity, HEAD_TIMEOUT - second).await);
        assert!(expires_within(&activity, 2 * second).await);
    }
}
