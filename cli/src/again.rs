//! Patience: how often and how long something is tried again when the connection is lost.

use crate::out::Out;
use crate::trouble::Trouble;
use atq_patience::{Backoff, Pauses};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long somebody who follows a task waits for a lost Director.
pub const FOLLOWING: Duration = Duration::from_secs(300);
/// How long an answer that is no stream is waited for.
pub const ASKING: Duration = Duration::from_secs(10);
/// A stream that has held for so long was a connection that worked, also when nothing was said on it.
const HELD: Duration = Duration::from_secs(10);
/// The pauses between tries.
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(10),
};

/// Tries again after what may pass, until patience ends.
#[derive(Debug)]
pub struct Again {
    patience: Duration,
    lost: Option<Instant>,
    backoff: Backoff,
}

impl Again {
    /// Gives up so long after a connection was lost.
    pub fn within(patience: Duration) -> Self {
        Self {
            patience,
            lost: None,
            backoff: Backoff::new(PAUSES),
        }
    }

    /// The connection works: what is lost from now on is lost anew.
    pub fn reached(&mut self) {
        self.lost = None;
        self.backoff.reset();
    }

    /// A stream that was open since `since` has broken off, which is said at the first loss.
    pub fn broke_off(&mut self, out: Out, since: Instant, trouble: &Trouble) {
        if since.elapsed() >= HELD {
            self.reached();
        }
        if self.lost.is_none() {
            out.progress(format_args!("{trouble}; trying again"));
        }
    }

    /// Pauses before the next try.
    ///
    /// # Errors
    /// The trouble itself, when another try is of no use, or patience has ended.
    pub async fn after(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        let lost = *self.lost.get_or_insert_with(Instant::now);
        let pause = self
            .backoff
            .next_pause()
            .max(trouble.retry_after().unwrap_or_default());
        if !may_pass(&trouble) || lost.elapsed() + pause > self.patience {
            return Err(trouble);
        }
        sleep(pause).await;
        Ok(())
    }
}

/// Whether the same request may get an answer later: nobody answers, or a Director or proxy that is busy.
pub fn may_pass(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Unreachable { .. } | Trouble::Busy { .. } => true,
        Trouble::Rejected { .. }
        | Trouble::Usage { .. }
        | Trouble::Faults { .. }
        | Trouble::Untrusted { .. }
        | Trouble::Failed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn unreachable() -> Trouble {
        Trouble::Unreachable {
            url: String::new(),
            reason: String::new(),
        }
    }

    #[tokio::test]
    async fn patience_ends_and_begins_anew() {
        let mut again = Again::within(Duration::from_millis(350));
        again.after(unreachable()).await.unwrap();
        // Another 400 ms would be too much.
        again.after(unreachable()).await.unwrap_err();
        again.reached();
        assert!(again.lost.is_none());
        again.after(unreachable()).await.unwrap();
    }

    #[tokio::test]
    async fn what_does_not_pass_is_not_tried_again() {
        let mut again = Again::within(FOLLOWING);
        let refused = |status| Trouble::Rejected {
            status,
            code: String::new(),
            message: String::new(),
            faults: Vec::new(),
        };
        again.after(refused(404)).await.unwrap_err();
        again
            .after(Trouble::failed("disk full", ""))
            .await
            .unwrap_err();
        again.after(busy(None)).await.unwrap();
    }

    fn busy(seconds: Option<u64>) -> Trouble {
        Trouble::Busy {
            status: 503,
            code: String::new(),
            message: String::new(),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_director_says_when_to_come_again() {
        let mut again = Again::within(ASKING);
        let begun = Instant::now();
        again.after(busy(Some(5))).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(5));
        // Never beyond the deadline.
        again.after(busy(Some(6))).await.unwrap_err();
    }
}
