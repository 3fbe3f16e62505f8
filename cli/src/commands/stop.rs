//! `atq stop`.

use crate::again::may_pass;
use crate::args::Stop;
use crate::context::Context;
use crate::director::segment;
use crate::exit::Exit;
use crate::run::closing;
use crate::run::invocation::{given_key, sign};
use crate::table::word;
use crate::trouble::Trouble;
use atq_api_spec::task::{Step, Task, TaskStatus};
use atq_patience::{Deadline, poll_until};
use reqwest::Method;
use std::cell::Cell;
use std::ops::ControlFlow::{Break, Continue};
use std::time::Duration;
use tokio::time::Instant;

/// How often the task is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The Director gives clean-up up after about ten minutes.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// For so long the Director may be away.
const AWAY: Duration = Duration::from_secs(60);

/// Asks the task to stop, and waits for its end when told to.
///
/// # Errors
/// When there is no such task, or its end cannot be seen.
pub async fn stop(context: &Context, args: &Stop) -> Result<Exit, Trouble> {
    let path = format!("task/{}/stop{}", segment(&args.name), query(args.force));
    let key = given_key(args.idempotency_key.as_deref())?;
    let request = sign(
        context.director.request(Method::POST, &path)?,
        key.as_deref(),
    );
    // Asking twice changes nothing.
    let response = context.director.send_again(request).await?;
    let mut task: Task = context.director.read(response).await?;
    if args.wait && task.step != Step::Done {
        context.out.progress(sentence(&task));
        task = until_done(context, &args.name).await?;
    }
    context.out.line(sentence(&task));
    if task.step == Step::Done {
        for line in closing::failure(&task) {
            context.out.line(line);
        }
    }
    context.out.result(&task);
    Ok(Exit::Pass)
}

/// The query of a request that ends a task.
pub(super) fn query(force: bool) -> &'static str {
    match force {
        true => "?force=true",
        false => "",
    }
}

async fn until_done(context: &Context, name: &str) -> Result<Task, Trouble> {
    let begun = Instant::now();
    let heard = Cell::new(begun);
    let ended = poll_until(Deadline::after(PATIENCE + AWAY), LOOK, async || {
        let patient = heard.get().elapsed() < AWAY;
        match context.director.task(name).await {
            Ok(task) if task.step == Step::Done => Break(Ok(task)),
            Ok(task) if begun.elapsed() > PATIENCE => Break(Err(endless(&task))),
            Ok(task) => {
                heard.set(Instant::now());
                Continue(endless(&task))
            }
            Err(trouble) if patient && may_pass(&trouble) => Continue(trouble),
            Err(trouble) => Break(Err(trouble)),
        }
    });
    ended.await.flatten()
}

fn endless(task: &Task) -> Trouble {
    let (minutes, seen) = (PATIENCE.as_secs() / 60, sentence(task));
    Trouble::failed(
        format!("no end within {minutes} minutes: {seen}"),
        "`atq events` shows what happens",
    )
}

fn sentence(task: &Task) -> String {
    let (name, step) = (&task.id, word(&task.step));
    match (task.step, task.status) {
        (Step::Done, status) => format!("`{name}` is over: {}", word(&status)),
        (_, TaskStatus::Initializing | TaskStatus::Started) => {
            format!("`{name}` is being stopped; step {step}")
        }
        (_, status) => format!("`{name}` is {}; step {step}", word(&status)),
    }
}
