//! The wait command: each try has a container of its own.

use super::command::{self, Ended, Output, shown};
use super::{engine_of, start};
use crate::run::Run;
use crate::wait::{Deadline, StepError, StepResult};
use atq_engine::{Course, Member, Part, Role, Source};
use atq_task::event::{Event, FailureCode};
use atq_task::spec::WaitSpec;
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
    let command = &wait.command;
    let group = start(run, Part::Wait { command, attempt }, deadline).await?;
    let source = Source {
        role: Role::Wait,
        replica: attempt,
    };
    let member = match command::until_end(run, &group, deadline).await? {
        Ended::Yes(member) => member,
        Ended::NotYet {
            member: Some(member),
            seen,
        } => {
            let output = command::keep_log(run, &member, source).await;
            let seen = format!("{seen}, and {}", output.told());
            return Err(not_in_time(run, attempt, &seen));
        }
        Ended::NotYet { seen, .. } => return Err(not_in_time(run, attempt, &seen)),
    };
    let output = command::keep_log(run, &member, source).await;
    // Clean-up removes it otherwise.
    let _ = run.shared.engine.dismiss(&group).await;
    Ok(judge(&wait, attempt, &member, &output))
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
    let message = engine_of(run)
        .explain(&run.spec.worker.image, message)
        .await;
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
    let whole = wait.timeout() + run.patience(1);
    let spent = run.shared.clock.now().since(run.state.step_started_at);
    Deadline::after(whole.saturating_sub(spent))
}

fn not_in_time(run: &Run, attempt: u32, seen: &str) -> StepError {
    let message = format!("try {attempt} of the wait command did not end in time: {seen}");
    let hint = "it may take `timeout` and `orchestrationTimeout` together";
    run.failed(FailureCode::WaitCommandFailed, message, hint)
}

fn judge(wait: &WaitSpec, attempt: u32, member: &Member, output: &Output) -> Event {
    let exited_well = member.exit_code == Some(0);
    let as_expected =
        wait.expected_result.is_empty() || output.text.trim() == wait.expected_result.trim();
    let seen = match (member.exit_code, as_expected) {
        (Some(0), true) => "it exited 0".to_owned(),
        (Some(0), false) => format!(
            "it exited 0 and {}; expected `{}`",
            output.told(),
            shown(&wait.expected_result)
        ),
        (Some(code), _) => format!("it exited {code} and {}", output.told()),
        (None, _) => member.reason.clone(),
    };
    Event::WaitTried {
        attempt,
        exit_code: member.exit_code,
        succeeded: exited_well && as_expected,
        seen,
    }
}
