//! Activity of a connection, and its timeouts.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Timeout of the head of a request; a new connection starts with one.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle timeout between two requests: longer than that of common clients' connection pools, so that the client closes
/// the connection first, and no request is lost on a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for the head of a request, or has received a part of it.
    Head(Instant),
    /// A request was answered; nothing of the next one was received.
    Idle(Instant),
    /// A request is being received or processed.
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

/// Activity of a connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Activity(Arc<watch::Sender<Phase>>);

impl Activity {
    /// The activity of a new connection.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Head(Instant::now()))))
    }

    /// Records that bytes were received.
    pub fn received(&self) {
        self.0.send_if_modified(|phase| {
            let begins = matches!(phase, Phase::Idle(_));
            if begins {
                *phase = Phase::Head(Instant::now());
            }
            begins
        });
    }

    /// Records the start of a request; it ends when the guard is dropped.
    pub fn request(&self) -> RequestGuard {
        self.0.send_replace(Phase::Busy);
        RequestGuard(self.clone())
    }

    /// Time since which the connection has no request; `None` during a request.
    pub fn waiting_since(&self) -> Option<Instant> {
        match *self.0.borrow() {
            Phase::Head(since) | Phase::Idle(since) => Some(since),
            Phase::Busy => None,
        }
    }

    /// Waits until the connection has timed out.
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

/// A request in progress.
#[derive(Debug)]
pub struct RequestGuard(Activity);

impl Drop for RequestGuard {
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
    async fn heads_and_idle_connections_time_out_and_requests_do_not() {
        let second = Duration::from_secs(1);
        let activity = Activity::new();
        assert!(!expires_within(&activity, HEAD_TIMEOUT - second).await);
        // More bytes of the same head do not extend the timeout.
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
