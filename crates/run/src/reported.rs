//! Waiting for what a run says of itself once its outcome is known.

use super::{Orchestrator, View};
use atq_store::StoreError;
use atq_task::state::Step;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a request waits for evidence, figures and verdict of a run that is over.
pub const REPORT_PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(50);

impl Orchestrator {
    /// The task of `view`, once its report is worked out: who saw its outcome and asks at once gets
    /// everything. A task that still runs, and one that takes longer than `patience`, is given as it
    /// is then; `None` when it was deleted meanwhile.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn until_reported(
        &self,
        view: View,
        patience: Duration,
    ) -> Result<Option<View>, StoreError> {
        let until = Instant::now() + patience;
        let mut view = view;
        while is_being_reported(&view) && Instant::now() < until {
            sleep(PAUSE).await;
            match self.get(&view.spec.name).await? {
                Some(later) => view = later,
                None => return Ok(None),
            }
        }
        Ok(Some(view))
    }
}

impl View {
    /// Whether evidence, figures and verdict of the run are with the Director.
    pub fn is_reported(&self) -> bool {
        self.state.step > Step::Report || (self.state.step == Step::Report && self.state.step_done)
    }
}

fn is_being_reported(view: &View) -> bool {
    view.state.outcome.is_some() && !view.is_reported()
}
