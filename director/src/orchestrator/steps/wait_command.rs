//! The wait command: each try is a service of its own.

use super::delay::check_workers;
use super::image_reason::explain;
use super::workers::{bundle_of, subnet_of};
use super::{StepResult, ensure_service, of_service, tasks_of_run};
use crate::evidence::Source;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError};
use crate::swarm::{LogLine, LogQuery, LogStream, SwarmTask, TaskState};
use crate::task::event::{Event, FailureCode};
use crate::task::plan::Role;
use crate::task::spec::WaitSpec;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks at the workers.
const LOOK: Duration = Duration::from_secs(1);
/// Pause between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);
/// More output than this equals no expected result.
const MAX_OUTPUT: usize = 64 << 10;
/// Bound of reading the log of a try.
const LOG_PATIENCE: Duration = Duration::from_secs(30);
/// How much of the output a message shows.
const SHOWN_OUTPUT: usize = 200;

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
    let task = until_end(run, &service, deadline).await?;
    let output = keep_log(run, &task, attempt).await;
    // Clean-up removes it otherwise.
    let _ = run.shared.swarm.remove_service(&service).await;
    Ok(judge(&wait, attempt, &task, &output))
}

async fn may_try_again(run: &Run, wait: &WaitSpec) -> Result<(), StepError> {
    let spent = run.shared.clock.now().since(run.state.step_started_at);
    if spent < wait.timeout() {
        return Ok(());
    }
    let message = format!(
        "the wait command did not succeed in {} s, tried {} time(s); the last try: {}",
        wait.timeout, run.state.wait_attempts, run.state.wait_seen
    );
    let message = explain(run, &run.spec.worker.image, message).await;
    let hint = "its log says more: GET /task/{id}/logs?service=wait";
    Err(run.failed(FailureCode::WaitCommandFailed, message, hint))
}

/// A try that began in time may finish; this bounds it.
fn hard_deadline(run: &Run, wait: &WaitSpec) -> Deadline {
    let whole = wait.timeout() + run.orchestration_timeout(1);
    let spent = run.shared.clock.now().since(run.state.step_started_at);
    Deadline::after(whole.saturating_sub(spent))
}

async fn until_end(
    run: &mut Run,
    service: &str,
    deadline: Deadline,
) -> Result<SwarmTask, StepError> {
    let mut looked = Instant::now();
    let mut seen = "it was not started".to_owned();
    loop {
        let tasks = tasks_of_run(run).await?.unwrap_or_default();
        if let Some(task) = of_service(&tasks, Some(service)).into_iter().next() {
            if task.state.is_terminal() {
                return Ok(task);
            }
            seen = super::judge::reason(&task);
            if task.state == TaskState::Running {
                seen = "it was still running".to_owned();
            }
        }
        if deadline.passed() {
            let attempt = run.state.wait_attempts + 1;
            let message = format!("try {attempt} of the wait command did not end in time: {seen}");
            return Err(run.failed(
                FailureCode::WaitCommandFailed,
                message,
                "it may take `timeout` and `orchestrationTimeout` together",
            ));
        }
        if looked.elapsed() >= LOOK {
            check_workers(run).await?;
            looked = Instant::now();
        }
        run.pause(PAUSE).await?;
    }
}

/// Keeps the log of a try and gives the beginning of its standard output. What cannot be read is
/// no output, and never holds up the run.
async fn keep_log(run: &Run, task: &SwarmTask, attempt: u32) -> String {
    let mut output = String::new();
    if task.container_id.is_some() {
        let kept = tokio::time::timeout(LOG_PATIENCE, read_log(run, task, attempt, &mut output));
        let problem = match kept.await {
            Ok(kept) => kept.err(),
            Err(_) => Some(format!(
                "Docker did not give it within {} s",
                LOG_PATIENCE.as_secs()
            )),
        };
        if let Some(problem) = problem {
            tracing::warn!(task = %run.spec.name, attempt, %problem, "the log of the wait command could not be kept");
        }
    }
    output
}

async fn read_log(
    run: &Run,
    task: &SwarmTask,
    attempt: u32,
    output: &mut String,
) -> Result<(), String> {
    let query = LogQuery::default();
    let lines = run.shared.swarm.task_logs(&task.id, false, query).await;
    let lines = lines.map_err(|error| error.to_string())?;
    let source = Source {
        role: Role::Wait,
        replica: attempt,
    };
    let lines = lines.inspect(|line| {
        if let Ok(line) = line {
            listen(output, line);
        }
    });
    run.shared
        .evidence
        .keep_log(&run.spec.name, &run.state.run, source, lines)
        .await
}

fn listen(output: &mut String, line: &LogLine) {
    if line.stream == LogStream::Stdout && output.len() <= MAX_OUTPUT {
        output.push_str(&line.text);
        output.push('\n');
    }
}

fn judge(wait: &WaitSpec, attempt: u32, task: &SwarmTask, output: &str) -> Event {
    let exited_well = task.exit_code == Some(0);
    let as_expected =
        wait.expected_result.is_empty() || output.trim() == wait.expected_result.trim();
    let seen = match (task.exit_code, as_expected) {
        (Some(0), true) => "it exited 0".to_owned(),
        (Some(0), false) => format!(
            "it exited 0 and printed `{}`; expected `{}`",
            shown(output),
            shown(&wait.expected_result)
        ),
        (Some(code), _) => format!("it exited {code} and printed `{}`", shown(output)),
        (None, _) => super::judge::reason(task),
    };
    Event::WaitTried {
        attempt,
        exit_code: task.exit_code,
        succeeded: exited_well && as_expected,
        seen,
    }
}

fn shown(output: &str) -> String {
    let output = output.trim();
    match output.chars().count() > SHOWN_OUTPUT {
        true => format!(
            "{}...",
            output.chars().take(SHOWN_OUTPUT).collect::<String>()
        ),
        false => output.to_owned(),
    }
}
