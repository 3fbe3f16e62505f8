//! The work of each step. A step may be begun again after a crash, so each one looks first for what
//! it would create: "is there and is ours" is success, "is there and is not ours" an error.

mod collect;
pub(super) mod collectors;
mod command;
mod delay;
mod delivery;
mod discovery;
pub(super) mod judge;
mod look_up;
mod master;
mod network;
mod readiness;
mod report;
mod resolve;
mod results;
mod running;
mod wait_command;
pub(super) mod wind_down;
mod workers;

use super::cleanup;
use super::manifest;
use super::run::Run;
use super::services::create_or_find;
use super::wait::{Deadline, StepError, StepResult, interrupted};
use crate::plan::ServicePlan;
use crate::swarm::SwarmTask;
use crate::task::event::Event;
use crate::task::machine;
use crate::task::state::Step;
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
        Step::Delivery => delivery::delivery(run).boxed(),
        Step::Network => network::network(run).boxed(),
        Step::Discovery => discovery::discovery(run).boxed(),
        Step::Workers => workers::workers(run).boxed(),
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

/// Creates a service, or finds it when an earlier try of this run has created it.
async fn ensure_service(
    run: &mut Run,
    deadline: Deadline,
    plan: ServicePlan,
) -> Result<String, StepError> {
    let mut plan = delivery::where_it_is(run, deadline, plan).await?;
    let bounds = run.shared.settings.bounds;
    plan.pids = bounds.pids;
    // Of a definition that is older than the bound.
    plan.stop_grace = plan.stop_grace.min(bounds.stop_grace);
    let swarm = Arc::clone(&run.shared.swarm);
    let ours = run.labels();
    let made = run
        .docker(deadline, || create_or_find(&*swarm, &plan, &ours))
        .await?;
    Ok(made.id)
}

/// The Swarm tasks of this run, all services together. Docker being away gives `None` until the
/// deadline; then it is what the wait fails for.
async fn tasks_of_run(run: &Run, deadline: Deadline) -> Result<Option<Vec<SwarmTask>>, StepError> {
    match run.shared.swarm.tasks(&run.labels()).await {
        Ok(tasks) => Ok(Some(tasks)),
        Err(error) if error.is_temporary() && !deadline.passed() => {
            tracing::debug!(task = %run.spec.name, %error, "cannot list Swarm tasks; trying again");
            Ok(None)
        }
        Err(error) => Err(run.docker_failed(&error)),
    }
}

/// Those of `tasks` that belong to `service`, by replica.
fn of_service(tasks: &[SwarmTask], service: Option<&str>) -> Vec<SwarmTask> {
    let mut own: Vec<SwarmTask> = tasks
        .iter()
        .filter(|task| Some(task.service_id.as_str()) == service)
        .cloned()
        .collect();
    own.sort_by_key(|task| task.slot);
    own
}
