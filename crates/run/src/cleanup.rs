//! The removal of everything that a run has created.

use super::run::Run;
use super::wait::{StepError, StepResult};
use atq_engine::Course;
use atq_task::event::Event;
use std::time::Duration;

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The step of a run. Tries after the first come after growing pauses.
///
/// # Errors
/// When grace periods are to be skipped from now on: the step is to be begun again.
pub async fn cleanup(run: &mut Run) -> StepResult {
    if run.state.cleanups > 0 {
        let pause = Duration::from_secs(1 << run.state.cleanups.min(6)).min(LONGEST_PAUSE);
        run.pause_until_wished(pause).await;
    }
    tokio::select! {
        biased;
        () = run.hastened() => Err(StepError::Interrupted),
        leftovers = clean_up(run) => Ok(Event::CleanUpTried { leftovers }),
    }
}

/// Removes everything of a run and says what is left.
pub async fn clean_up(run: &Run) -> Vec<String> {
    let engine = &run.shared.engine;
    if run.state.may_have_objects() && (run.state.forced || run.desired().is_forced()) {
        engine.kill(run.facts()).await;
    }
    engine.release(run.facts()).await
}
