//! The wait command: each try is a service of its own.

use super::command::{self, Ended, Output, shown};
use super::ensure_service;
use super::workers::{bundle_of, subnet_of};
use crate::evidence::Source;
use crate::orchestrator::image_reason::explain;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError, StepResult};
use crate::plan::Role;
use crate::swarm::SwarmTask;
use crate::task::event::{Event, FailureCode};
use crate::task::spec::WaitSpec;
use std::time::Duration;

/// Pause between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// Makes one try; the event says whether it succeeded.
pub async fn wait_command(run: &mut Run) -> StepResult {
    let Some(wait) = run.spec.wait.clone() else {
        return Err(run.failed(FailureCode::Internal, "the task has no wait command", ""));
    };
    let attempt = run.state.wait_attempts + 1;
    if attempt > 1 {
        may_try_again(run, &wait).await?;
        run.pause(BETWEEN_TRIES).await?;
        may_try_again(run, &wait).await?;
    }
    let deadline = hard_deadline(run, &wait);
    let (subnet, bundle) = (subnet_of(run)?, bundle_of(run, &run.spec.worker)?);
    let plan = run
        .plan()
        .wait(&wait.command, attempt, subnet, bundle, &run.state.addresses);
    let service = ensure_service(run, deadline, plan).await?;
    let source = Source {
        role: Role::Wait,
        replica: attempt,
    };
    let task = match command::until_end(run, &service, deadline).await? {
        Ended::Yes(task) => task,
        Ended::NotYet {
            task: Some(task),
            seen,
        } => {
            let output = command::keep_log(run, &task, source).await;
            let seen = format!("{seen}, and {}", output.told());
            return Err(not_in_time(run, attempt, &seen));
        }
        Ended::NotYet { seen, .. } => return Err(not_in_time(run, attempt, &seen)),
    };
    let output = command::keep_log(run, &task, source).await;
    // Clean-up removes it otherwise.
    let _ = run.shared.swarm.remove_service(&service).await;
    Ok(judge(&wait, attempt, &task, &output))
}

async fn may_try_again(run: &Run, wait: &WaitSpec) -> Result<(), StepError> {
    let spent = run.shared.clock.now().since(run.state.step_started_at);
    if spent < wait.timeout() {
        return Ok(());
    }
    let tries = match run.state.wait_attempts {
        1 => "1 time".to_owned(),
        tries => format!("{tries} times"),
    };
    let message = format!(
        "the wait command did not succeed in {} s, tried {tries}; the last try: {}",
        wait.timeout, run.state.wait_seen
    );
    let message = explain(run, &run.spec.worker.image, message).await;
    let hint = hint(&run.state.wait_seen);
    Err(run.failed(FailureCode::WaitCommandFailed, message, hint))
}

/// What helps depends on how far the last try came.
fn hint(seen: &str) -> &'static str {
    let says = |part: &str| seen.contains(part);
    if says("exited 0") {
        "the trimmed standard output must equal `expectedResult`; \
         its log says more: GET /task/{id}/logs?service=wait"
    } else if says("exec /bin/sh failed") || says("exec: \"/bin/sh\"") {
        "the wait command is given to /bin/sh in the worker's image; has it one?"
    } else {
        "its log says more: GET /task/{id}/logs?service=wait"
    }
}

/// A try that began in time may finish; this bounds it.
fn hard_deadline(run: &Run, wait: &WaitSpec) -> Deadline {
    let whole = wait.timeout() + run.orchestration_timeout(1);
    let spent = run.shared.clock.now().since(run.state.step_started_at);
    Deadline::after(whole.saturating_sub(spent))
}

fn not_in_time(run: &Run, attempt: u32, seen: &str) -> StepError {
    let message = format!("try {attempt} of the wait command did not end in time: {seen}");
    let hint = "it may take `timeout` and `orchestrationTimeout` together";
    run.failed(FailureCode::WaitCommandFailed, message, hint)
}

fn judge(wait: &WaitSpec, attempt: u32, task: &SwarmTask, output: &Output) -> Event {
    let exited_well = task.exit_code == Some(0);
    let as_expected =
        wait.expected_result.is_empty() || output.text.trim() == wait.expected_result.trim();
    let seen = match (task.exit_code, as_expected) {
        (Some(0), true) => "it exited 0".to_owned(),
        (Some(0), false) => format!(
            "it exited 0 and {}; expected `{}`",
            output.told(),
            shown(&wait.expected_result)
        ),
        (Some(code), _) => format!("it exited {code} and {}", output.told()),
        (None, _) => super::judge::reason(task),
    };
    Event::WaitTried {
        attempt,
        exit_code: task.exit_code,
        succeeded: exited_well && as_expected,
        seen,
    }
}
