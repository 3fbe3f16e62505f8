//! The work of each step. A step may be begun again after a crash, so each one looks first for what
//! it would create: "is there and is ours" is success, "is there and is not ours" an error.

mod collect;
mod command;
mod delay;
mod judge;
mod master;
mod readiness;
mod report;
mod resolve;
mod results;
mod running;
mod wait_command;
mod wind_down;

use super::cleanup;
use super::manifest;
use super::run::Run;
use super::wait::{Deadline, StepError, StepResult, interrupted};
use atq_engine::{Course, Engine, Member, Part};
use atq_task::event::Event;
use atq_task::machine;
use atq_task::state::Step;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use std::sync::Arc;

/// Does the work of `step`.
///
/// # Errors
/// When the run failed, or the task is to end.
pub async fn perform(run: &mut Run, step: Step) -> StepResult {
    let begins = match step {
        Step::Workers => run.state.worker.is_none(),
        // Begun again after each loss.
        Step::Running => run.state.lost.is_empty(),
        Step::Collect => true,
        _ => false,
    };
    if begins {
        Box::pin(manifest::observe(run)).await;
    }
    work(run, step).await
}

/// In boxes of their own: a driver would have room for the largest of them all the time, and a thousand may wait.
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
        () = interrupted(&mut run.wishes) => {
            queue.leave(&name);
            Err(StepError::Interrupted)
        }
        turn = queue.turn(&name) => {
            let (turn, claim) = turn;
            run.turn = Some(turn);
            run.claim = Some(claim);
            run.take_definition().await?;
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
    let deadline = Deadline::after(run.patience(run.spec.worker.replicas));
    let service = start(run, Part::Workers, deadline).await?;
    Ok(Event::WorkersCreated { service })
}

/// Starts a part of the run, or finds it when an earlier try has started it; gives its group.
async fn start(run: &mut Run, part: Part<'_>, deadline: Deadline) -> Result<String, StepError> {
    engine_of(run).start(run, part, deadline).await
}

/// The containers of this run, all parts together. The engine being away gives `None` until the
/// deadline; then it is what the wait fails for.
async fn members_of_run(run: &Run, deadline: Deadline) -> Result<Option<Vec<Member>>, StepError> {
    match run.shared.engine.observe(run.facts()).await {
        Ok(members) => Ok(Some(members)),
        Err(error) if error.is_temporary() && !deadline.passed() => {
            tracing::debug!(task = %run.spec.name, %error, "cannot list containers; trying again");
            Ok(None)
        }
        Err(error) => Err(run.engine_failed(&error)),
    }
}

/// Those of `members` that belong to `group`, by replica.
fn of_group(members: &[Member], group: Option<&str>) -> Vec<Member> {
    let mut own: Vec<Member> = members
        .iter()
        .filter(|member| Some(member.group.as_str()) == group)
        .cloned()
        .collect();
    own.sort_by_key(|member| member.source.replica);
    own
}
