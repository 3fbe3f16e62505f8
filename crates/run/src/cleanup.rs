//! Removal of all objects of a run.

use super::interruption::{StepError, StepResult};
use super::run::Run;
use atq_engine::RunContext;
use atq_task::event::Event;
use std::time::Duration;

const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The step `cleanup`. Retries wait for increasing pauses.
///
/// # Errors
/// When skipping grace periods is newly requested; the step is then repeated.
pub async fn cleanup(run: &mut Run) -> StepResult {
    if run.state.cleanups > 0 {
        let pause = Duration::from_secs(1 << run.state.cleanups.min(6)).min(MAX_PAUSE);
        run.pause_until_request(pause).await;
    }
    tokio::select! {
        biased;
        () = run.newly_forced() => Err(StepError::Interrupted),
        leftovers = remove_objects(run) => Ok(Event::CleanUpTried { leftovers }),
    }
}

/// Removes all objects of a run and returns what is left.
pub async fn remove_objects(run: &Run) -> Vec<String> {
    let engine = &run.shared.engine;
    if run.state.may_have_objects() && (run.state.forced || run.desired().is_forced()) {
        engine.kill(run.facts()).await;
    }
    engine.release(run.facts()).await
}
