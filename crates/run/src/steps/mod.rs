//! The work of each step. A step may be repeated after a crash, so each one first searches for the object that it would
//! create: an existing object of this run is success, an existing foreign object is an error.

mod collect;
mod command;
mod containers;
mod delay;
mod figures;
mod master;
mod readiness;
mod report;
mod resolve;
mod results;
mod running;
mod shutdown;
mod status;
mod wait_command;

use super::cleanup;
use super::interruption::{Deadline, StepError, StepResult};
use super::manifest;
use super::run::Run;
use atq_engine::{Engine, Member, Part, RunContext};
use atq_task::event::Event;
use atq_task::machine;
use atq_task::state::Step;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use std::sync::Arc;
use std::time::Duration;

/// Does the work of `step`.
///
/// # Errors
/// When the run failed, or it is to end early.
pub async fn perform(run: &mut Run, step: Step) -> StepResult {
    let starts = match step {
        Step::Workers => run.state.worker.is_none(),
        // Repeated after each loss.
        Step::Running => run.state.lost.is_empty(),
        Step::Collect => true,
        _ => false,
    };
    if starts {
        Box::pin(manifest::observe(run)).await;
    }
    work(run, step).await
}

/// Boxed futures: otherwise every driver reserves space for the largest one, and a thousand tasks may wait.
fn work(run: &mut Run, step: Step) -> BoxFuture<'_, StepResult> {
    match step {
        Step::Queued => queued(run).boxed(),
        Step::Delivery => async { engine_of(run).distribute(run).await }.boxed(),
        Step::Network => async { engine_of(run).prepare(run).await }.boxed(),
        Step::Discovery => async { engine_of(run).start_discovery(run).await }.boxed(),
        Step::Workers => workers(run).boxed(),
        Step::Resolve => resolve::resolve(run).boxed(),
        Step::Readiness => readiness::readiness(run).boxed(),
        Step::WaitCommand => wait_command::wait_command(run).boxed(),
        Step::Delay => delay::delay(run).boxed(),
        Step::Master => master::master(run).boxed(),
        Step::Running => running::running(run).boxed(),
        Step::Collect => collect::collect(run).boxed(),
        Step::Report => report::report(run).boxed(),
        Step::Cleanup => cleanup::cleanup(run).boxed(),
        Step::Done => ready(Err(StepError::Interrupted)).boxed(),
    }
}

async fn queued(run: &mut Run) -> StepResult {
    let queue = Arc::clone(&run.shared.queue);
    let name = run.spec.name.clone();
    queue.join(&run.spec, run.state.created_at);
    tokio::select! {
        biased;
        () = run.interruption() => {
            queue.leave(&name);
            Err(StepError::Interrupted)
        }
        (slot, claim) = queue.acquire(&name) => {
            run.slot = Some(slot);
            run.claim = Some(claim);
            run.load_definition().await?;
            Ok(Event::StepStarted {
                step: machine::following(Step::Queued, &run.spec),
            })
        }
    }
}

fn engine_of(run: &Run) -> Arc<dyn Engine> {
    Arc::clone(&run.shared.engine)
}

/// Starts the workers.
async fn workers(run: &mut Run) -> StepResult {
    let deadline = Deadline::after(run.orchestration_timeout(run.spec.worker.replicas));
    let service = engine_of(run).start(run, Part::Workers, deadline).await?;
    Ok(Event::WorkersCreated { service })
}

/// A deadline `length` after the start of the step; it does not start again after a restart.
fn step_deadline(run: &Run, length: Duration) -> Deadline {
    let spent = run.shared.clock.now().since(run.state.step_started_at);
    Deadline::after(length.saturating_sub(spent))
}

/// The containers of all parts of the run. `None` while the engine is unavailable; after the deadline an error.
async fn members_of_run(run: &Run, deadline: Deadline) -> Result<Option<Vec<Member>>, StepError> {
    match run.shared.engine.observe(run.facts()).await {
        Ok(members) => Ok(Some(members)),
        Err(error) if error.is_temporary() && !deadline.passed() => {
            tracing::debug!(task = %run.spec.name, %error, "cannot list containers; retrying");
            Ok(None)
        }
        Err(error) => Err(run.engine_failed(&error)),
    }
}

/// The `members` of `group`, ordered by replica.
fn of_group(members: &[Member], group: Option<&str>) -> Vec<Member> {
    let mut own: Vec<Member> = members
        .iter()
        .filter(|member| Some(member.group.as_str()) == group)
        .cloned()
        .collect();
    own.sort_by_key(|member| member.source.replica);
    own
}
