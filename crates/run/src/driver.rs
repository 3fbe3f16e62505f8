//! The loop of one task: decide, act, record. It ends when nothing is left to be done; everything
//! that it knows is in the history, so it may be cut off at any point and begun again.

use super::run::Run;
use super::steps;
use super::wait::StepError;
use super::{cleanup, limits};
use atq_task::event::Event;
use atq_task::machine::{Action, IllegalEvent, decide};
use atq_task::state::Step;

/// Drives a run to its end.
pub async fn drive(mut run: Run) {
    let ended = to_the_end(&mut run).await;
    run.shared.queue.leave(&run.spec.name);
    if let Err(error) = ended {
        tracing::error!(task = %run.spec.name, %error, "the task's driver stopped; this is a bug");
        return;
    }
    if run.desired().is_deleted() {
        forget(&run).await;
    }
}

async fn to_the_end(run: &mut Run) -> Result<(), IllegalEvent> {
    if run.state.is_done() && !run.state.leftovers.is_empty() {
        let leftovers = Box::pin(cleanup::clean_up(run)).await;
        run.record(Event::CleanUpTried { leftovers }).await?;
    }
    loop {
        if let Some(failure) = limits::failure(&run.state, run.steering()) {
            record(run, Event::Failed { failure }).await?;
        }
        match decide(&run.state, &run.spec, run.desired()) {
            Action::Rest => return Ok(()),
            Action::Record(event) => record(run, event).await?,
            Action::Perform(step) => match steps::perform(run, step).await {
                Ok(event) => record(run, event).await?,
                // The next decision sees the wish that interrupted.
                Err(StepError::Interrupted) => {}
                Err(StepError::Failed(failure)) => {
                    let failure = run.with_hint(failure);
                    run.record(Event::Failed { failure }).await?;
                }
            },
        }
    }
}

async fn record(run: &mut Run, event: Event) -> Result<(), IllegalEvent> {
    run.record(event).await?;
    if run.state.outcome.is_some() {
        // One that was stopped before it looked at the queue would hold up all behind it.
        run.shared.queue.leave(&run.spec.name);
    }
    if run.state.step >= Step::Report {
        run.turn = None;
    }
    if run.state.is_done() {
        run.claim = None;
        run.holding = None;
    }
    Ok(())
}

/// Forgets a task of which nothing is left.
async fn forget(run: &Run) {
    let name = &run.spec.name;
    if !run.state.leftovers.is_empty() {
        return;
    }
    if let Err(error) = run.shared.evidence.remove(name).await {
        tracing::error!(task = %name, %error, "the task's evidence cannot be removed");
        return;
    }
    // Only this run: retention may have been quicker, and another task may have the name by now.
    match run.shared.store.remove_ended(name, &run.state.run).await {
        Ok(_) => tracing::info!(task = %name, "task deleted"),
        Err(error) => tracing::error!(task = %name, %error, "the task cannot be forgotten"),
    }
}
