//! The step `waitCommand`: each attempt has its own container.

use super::command::{self, CommandEnd, Output, excerpt};
use super::{engine_of, step_deadline};
use crate::interruption::{StepError, StepResult};
use crate::run::Run;
use atq_engine::{Member, Part, Role, RunContext, Source};
use atq_task::event::{Event, FailureCode};
use atq_task::spec::WaitSpec;
use std::time::Duration;

const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Makes one attempt; the event records whether it succeeded.
pub async fn wait_command(run: &mut Run) -> StepResult {
    let Some(wait) = run.spec.wait.clone() else {
        return Err(run.failed(FailureCode::Internal, "the task has no wait command", ""));
    };
    let attempt = run.state.wait_attempts + 1;
    if attempt > 1 {
        check_timeout(run, &wait).await?;
        run.pause(RETRY_INTERVAL).await?;
        check_timeout(run, &wait).await?;
    }
    // An attempt that began in time may finish; this deadline bounds it.
    let deadline = step_deadline(run, wait.timeout() + run.orchestration_timeout(1));
    let command = &wait.command;
    let part = Part::Wait { command, attempt };
    let group = engine_of(run).start(run, part, deadline).await?;
    let source = Source::new(Role::Wait, attempt);
    let member = match command::wait_for_end(run, &group, deadline).await? {
        CommandEnd::Exited(member) => member,
        CommandEnd::TimedOut {
            member: Some(member),
            status,
        } => {
            let output = command::keep_log(run, &member, source).await;
            let status = format!("{status}, and {}", output.describe());
            return Err(not_in_time(run, attempt, &status));
        }
        CommandEnd::TimedOut { status, .. } => return Err(not_in_time(run, attempt, &status)),
    };
    let output = command::keep_log(run, &member, source).await;
    // If this fails, clean-up removes it.
    let _ = run.shared.engine.dismiss(&group).await;
    Ok(attempt_event(&wait, attempt, &member, &output))
}

async fn check_timeout(run: &Run, wait: &WaitSpec) -> Result<(), StepError> {
    if !step_deadline(run, wait.timeout()).passed() {
        return Ok(());
    }
    let attempts = match run.state.wait_attempts {
        1 => "1 attempt".to_owned(),
        attempts => format!("{attempts} attempts"),
    };
    let message = format!(
        "the wait command did not succeed within {} s ({attempts}); last attempt: {}",
        wait.timeout, run.state.wait_seen
    );
    let engine = engine_of(run);
    let message = engine.explain(&run.spec.worker.image, message).await;
    let hint = hint(&run.state.wait_seen);
    Err(run.failed(FailureCode::WaitCommandFailed, &message, hint))
}

/// The hint depends on the result of the last attempt.
fn hint(result: &str) -> &'static str {
    let contains = |part: &str| result.contains(part);
    if contains("exited 0") {
        "the trimmed standard output must equal `expectedResult`; \
         see its log: GET /task/{id}/logs?service=wait"
    } else if contains("exec /bin/sh failed") || contains("exec: \"/bin/sh\"") {
        "the wait command needs /bin/sh in the worker's image"
    } else {
        "see its log: GET /task/{id}/logs?service=wait"
    }
}

fn not_in_time(run: &Run, attempt: u32, status: &str) -> StepError {
    let message = format!("attempt {attempt} of the wait command did not end in time: {status}");
    let hint = "an attempt may take up to the sum of `timeout` and `orchestrationTimeout`";
    run.failed(FailureCode::WaitCommandFailed, &message, hint)
}

fn attempt_event(wait: &WaitSpec, attempt: u32, member: &Member, output: &Output) -> Event {
    let exited_well = member.exit_code == Some(0);
    let as_expected =
        wait.expected_result.is_empty() || output.stdout.trim() == wait.expected_result.trim();
    let seen = match (member.exit_code, as_expected) {
        (Some(0), true) => "it exited 0".to_owned(),
        (Some(0), false) => format!(
            "it exited 0 and {}; expected `{}`",
            output.describe(),
            excerpt(&wait.expected_result)
        ),
        (Some(code), _) => format!("it exited {code} and {}", output.describe()),
        (None, _) => member.reason.clone(),
    };
    Event::WaitTried {
        attempt,
        exit_code: member.exit_code,
        succeeded: exited_well && as_expected,
        seen,
    }
}
