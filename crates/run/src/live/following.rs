//! The following of the result files of a run.

use super::LiveResults;
use crate::clock::Clock;
use atq_engine::ResultsFollow;
use atq_task::spec::TaskName;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Time for which the last bytes of an ended test are awaited. They are collected in any case.
const LAST_BYTES_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the end of the following. Clean-up removes what is left.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the result files of a run are followed.
#[derive(Default)]
pub(crate) enum Following {
    /// Not yet, or not any more.
    #[default]
    No,
    /// It failed; it is not tried again.
    Failed,
    /// They are followed.
    Yes(Followed),
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
    /// Ends the following of a test that was stopped. Waits briefly for the last bytes, unless they are skipped.
    pub(crate) async fn end(self, skips_last_bytes: bool) {
        let Self::Yes(followed) = self else { return };
        let Followed {
            task,
            clock,
            results,
            guard,
            computing,
        } = followed;
        if !skips_last_bytes {
            // After the timeout, the figures lack some samples, and the report has them.
            let _ = timeout(LAST_BYTES_TIMEOUT, results.read_since(clock.now())).await;
        }
        if timeout(END_TIMEOUT, guard.end()).await.is_err() {
            tracing::warn!(%task, "the following of result files did not end in time");
        }
        drop((guard, computing));
        results.end().await;
    }
}
