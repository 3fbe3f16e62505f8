//! `atq stop`.

use crate::args::Stop;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::path::segment;
use crate::retry::is_temporary;
use crate::run::invocation::{given_key, sign};
use crate::run::summary;
use crate::table::api_name;
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_retry::{Deadline, poll_until};
use reqwest::Method;
use std::cell::Cell;
use std::ops::ControlFlow::{Break, Continue};
use std::time::Duration;
use tokio::time::Instant;

/// Interval of polling the task.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Timeout of the wait: the Director ends the clean-up after about ten minutes.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// Retry time for an unreachable Director.
const UNREACHABLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests the stop of a task, and optionally waits for its end.
///
/// # Errors
/// When the task does not exist, or its end cannot be observed.
pub async fn stop(context: &Context, args: &Stop) -> Result<Exit, CliError> {
    let path = format!("task/{}/stop{}", segment(&args.name), query(args.force));
    let key = given_key(args.idempotency_key.as_deref())?;
    let request = sign(
        context.director.request(Method::POST, &path)?,
        key.as_deref(),
    );
    // Repeated requests have no further effect.
    let response = context.director.send_with_retries(request).await?;
    let mut task: Task = context.director.read(response).await?;
    if args.wait && task.step != Step::Done {
        context.out.progress(status_line(&task));
        task = until_done(context, &args.name).await?;
    }
    let mut lines = vec![status_line(&task)];
    if task.step == Step::Done {
        lines.extend(summary::failure(&task));
    }
    context.out.show(lines, &task);
    Ok(Exit::Pass)
}

/// The query of a request that ends a task.
pub(super) fn query(force: bool) -> &'static str {
    match force {
        true => "?force=true",
        false => "",
    }
}

async fn until_done(context: &Context, name: &str) -> Result<Task, CliError> {
    let begun = Instant::now();
    let last_response = Cell::new(begun);
    let ended = poll_until(
        Deadline::after(WAIT_TIMEOUT + UNREACHABLE_TIMEOUT),
        POLL_INTERVAL,
        async || {
            let may_retry = last_response.get().elapsed() < UNREACHABLE_TIMEOUT;
            match context.director.task(name).await {
                Ok(task) if task.step == Step::Done => Break(Ok(task)),
                Ok(task) if begun.elapsed() > WAIT_TIMEOUT => Break(Err(timed_out(&task))),
                Ok(task) => {
                    last_response.set(Instant::now());
                    Continue(timed_out(&task))
                }
                Err(error) if may_retry && is_temporary(&error) => Continue(error),
                Err(error) => Break(Err(error)),
            }
        },
    );
    ended.await.flatten()
}

fn timed_out(task: &Task) -> CliError {
    let (minutes, state) = (WAIT_TIMEOUT.as_secs() / 60, status_line(task));
    CliError::failed(
        format!("the task is not over after {minutes} minutes: {state}"),
        "see `atq events`",
    )
}

fn status_line(task: &Task) -> String {
    let (name, step) = (&task.id, api_name(&task.step));
    match (task.step, task.status) {
        (Step::Done, status) => format!("`{name}` is over: {}", api_name(&status)),
        (_, TaskStatus::Initializing | TaskStatus::Started) => {
            format!("`{name}` is being stopped; step {step}")
        }
        (_, status) => format!("`{name}` is {}; step {step}", api_name(&status)),
    }
}
