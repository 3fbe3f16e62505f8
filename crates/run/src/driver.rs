//! The loop of one task: decide, act, record. It ends when the run is complete. Its whole state is in the history,
//! so it can be interrupted at any point and restarted.

use super::interruption::StepError;
use super::run::Run;
use super::steps;
use super::{cleanup, limits};
use atq_task::event::Event;
use atq_task::machine::{Action, IllegalEvent, decide};
use atq_task::state::Step;

/// Drives a run to completion.
pub async fn drive(mut run: Run) {
    let ended = run_to_completion(&mut run).await;
    run.shared.queue.leave(&run.spec.name);
    if let Err(error) = ended {
        tracing::error!(task = %run.spec.name, %error, "the driver of the task stopped; this is a bug");
        return;
    }
    if run.desired().is_deleted() {
        delete_records(&run).await;
    }
}

async fn run_to_completion(run: &mut Run) -> Result<(), IllegalEvent> {
    if run.state.is_done() && !run.state.leftovers.is_empty() {
        let leftovers = Box::pin(cleanup::remove_objects(run)).await;
        run.record(Event::CleanUpTried { leftovers }).await?;
    }
    loop {
        if let Some(failure) = limits::failure(&run.state, run.control()) {
            record(run, Event::Failed { failure }).await?;
        }
        match decide(&run.state, &run.spec, run.desired()) {
            Action::Rest => return Ok(()),
            Action::Record(event) => record(run, event).await?,
            Action::Perform(step) => match steps::perform(run, step).await {
                Ok(event) => record(run, event).await?,
                // The next decision handles the request that interrupted the step.
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
        // A task that is stopped before its first step would block the queue.
        run.shared.queue.leave(&run.spec.name);
    }
    if run.state.step >= Step::Report {
        run.slot = None;
    }
    if run.state.is_reported() {
        run.live.set_results(None);
    }
    if run.state.is_done() {
        run.claim = None;
        run.guard = None;
    }
    Ok(())
}

/// Deletes evidence and record of a task of which no object is left.
async fn delete_records(run: &Run) {
    let name = &run.spec.name;
    if !run.state.leftovers.is_empty() {
        return;
    }
    if let Err(error) = run.shared.evidence.remove(name).await {
        tracing::error!(task = %name, %error, "the evidence of the task cannot be removed");
        return;
    }
    // Removes only this run: retention may have deleted it, and a new task may have its name.
    match run.shared.store.remove_ended(name, &run.state.run).await {
        Ok(_) => tracing::info!(task = %name, "task deleted"),
        Err(error) => {
            tracing::error!(task = %name, %error, "the record of the task cannot be deleted")
        }
    }
}
