//! The following of the result files of a run.

use super::LiveResults;
use crate::clock::Clock;
use atq_engine::ResultsFollow;
use atq_task::spec::TaskName;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Time for which the last bytes of an ended test are awaited. They are collected in any case.
const LAST_BYTES_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed attempt to follow them.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Time for the removal of its objects, of which clean-up removes what is left, and for the last figures.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the result files of a run are followed.
#[derive(Default)]
pub(crate) enum Following {
    /// Not yet, or not any more.
    #[default]
    No,
    /// It failed, and is tried again later.
    Failed {
        /// The time of the next attempt.
        retry_at: Instant,
    },
    /// They are followed.
    Yes(Followed),
    /// The test has ended; the following ends in the background.
    Ending(AbortOnDropHandle<()>),
}

/// The following of the result files of a run; dropping it ends the following.
pub(crate) struct Followed {
    task: TaskName,
    clock: Clock,
    results: Arc<LiveResults>,
    guard: Box<dyn ResultsFollow>,
    computing: AbortOnDropHandle<()>,
}

impl Followed {
    /// Computes the figures from now on.
    pub(crate) fn new(
        task: TaskName,
        clock: Clock,
        results: Arc<LiveResults>,
        guard: Box<dyn ResultsFollow>,
    ) -> Self {
        let computing = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&results).run()));
        Self {
            task,
            clock,
            results,
            guard,
            computing,
        }
    }
}

impl Following {
    /// A failed attempt.
    pub(crate) fn failed() -> Self {
        Self::Failed {
            retry_at: Instant::now() + RETRY_AFTER,
        }
    }

    /// Whether the files should be followed and are not.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::No => true,
            Self::Failed { retry_at } => *retry_at <= Instant::now(),
            Self::Yes(_) | Self::Ending(_) => false,
        }
    }

    /// Ends the following of a test that was stopped, in the background.
    #[must_use]
    pub(crate) fn ending(self, skips_last_bytes: bool) -> Self {
        match self {
            Self::Yes(followed) => {
                let end = tokio::spawn(followed.end(skips_last_bytes));
                Self::Ending(AbortOnDropHandle::new(end))
            }
            other => other,
        }
    }

    /// Waits until the following has ended, for a bounded time.
    pub(crate) async fn ended(&mut self) {
        if let Self::Ending(end) = self {
            if let Err(error) = end.await {
                tracing::error!(%error, "the end of the following failed; this is a bug");
            }
            *self = Self::No;
        }
    }
}

impl Followed {
    /// Waits briefly for the last bytes, unless they are skipped.
    async fn end(self, skips_last_bytes: bool) {
        let Self {
            task,
            clock,
            results,
            guard,
            computing,
        } = self;
        if !skips_last_bytes {
            // After the timeout, the figures lack some samples, and the report has them.
            let _ = timeout(LAST_BYTES_TIMEOUT, results.read_since(clock.now())).await;
        }
        if timeout(END_TIMEOUT, guard.end()).await.is_err() {
            tracing::warn!(%task, "the following of result files did not end in time");
        }
        drop((guard, computing));
        if timeout(END_TIMEOUT, results.end()).await.is_err() {
            tracing::warn!(%task, "the last figures of the test were not computed in time");
        }
    }
}
