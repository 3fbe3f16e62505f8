//! Waits for the report of a run whose outcome is fixed.

use super::{Orchestrator, View};
use atq_store::StoreError;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Timeout of a request that waits for evidence, figures and verdict of a run that has ended.
pub const REPORT_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

impl Orchestrator {
    /// Waits until the report of the task of `view` is complete: a request right after the end of the run gets the
    /// complete result. Returns the current view if the task still runs or after `timeout`; `None` if it was deleted
    /// meanwhile.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn wait_for_report(
        &self,
        view: View,
        timeout: Duration,
    ) -> Result<Option<View>, StoreError> {
        let deadline = Instant::now() + timeout;
        let mut view = view;
        while is_being_reported(&view) && Instant::now() < deadline {
            sleep(POLL_INTERVAL).await;
            match self.get(&view.spec.name).await? {
                Some(later) => view = later,
                None => return Ok(None),
            }
        }
        Ok(Some(view))
    }
}

impl View {
    /// Whether evidence, figures and verdict of the run are stored.
    pub fn is_reported(&self) -> bool {
        self.state.is_reported()
    }
}

fn is_being_reported(view: &View) -> bool {
    view.state.outcome.is_some() && !view.is_reported()
}
