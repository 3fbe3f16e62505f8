//! `atq run`.

use crate::again::may_pass;
use crate::args::Run;
use crate::context::Context;
use crate::definition::Loaded;
use crate::director::segment;
use crate::exit::Exit;
use crate::out::Out;
use crate::run::closing;
use crate::run::ending::{self, Cut};
use crate::run::human::Human;
use crate::run::invocation::Invocation;
use crate::run::live::Live;
use crate::run::outputs::Outputs;
use crate::run::watch::{Patience, Watched, Wishes, watch};
use crate::table::word;
use crate::trouble::Trouble;
use crate::{bundle, definition};
use atq_api_spec::report::Verdict;
use atq_api_spec::task::{StartedBy, Step, Task, TaskAccepted, TaskStatus};
use reqwest::Method;
use serde::Serialize;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// How long a signal waits for the answer to the start, and the Director then has to hear of the stop.
const MOMENT: Duration = Duration::from_secs(4);

/// What `--json` tells at the end of a test.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    /// The task as last seen; none when it was removed before it was seen.
    task: Option<&'a Task>,
    /// Its verdict, if there is one.
    verdict: Option<Verdict>,
    /// How this program ends.
    exit: Exit,
    /// The same as the number.
    exit_code: u8,
    /// Where the results are, if they were wanted and brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<&'a Path>,
}

/// Runs a test, and watches it to its end unless it is detached.
///
/// # Errors
/// When it cannot be started, or the Director is gone for too long. Everything after that is an exit code.
pub async fn run(context: &Context, args: &Run) -> Result<Exit, Trouble> {
    // Now, and not when the test is over.
    Outputs::of(args).probe()?;
    let invocation = Invocation::new(args)?;
    let loaded = prepare(context, args).await?;
    if args.replace {
        remove_ended(context, &loaded.name, &invocation).await?;
    }
    if args.detach {
        let accepted = start(context, &loaded, &invocation).await?;
        if is_attached(&accepted) {
            context.out.progress(attached(&loaded.name));
        }
        context
            .out
            .line(format!("{} {}", accepted.id, word(&accepted.status)));
        context.out.result(&accepted);
        return Ok(Exit::Pass);
    }
    // Before the start: whoever ends this program from now on must not leave a test behind.
    let mut human = Human::listen()?;
    let Some(accepted) = begin(context, &loaded, &invocation, &mut human).await? else {
        tell(context.out, None, Exit::Stopped, None);
        return Ok(Exit::Stopped);
    };
    if is_attached(&accepted) {
        context.out.progress(attached(&loaded.name));
    }
    let wishes = Wishes {
        follow: args.follow,
        timeout: args.timeout,
        attached: is_attached(&accepted),
        invocation,
        patience: Patience::default(),
    };
    let live = Live::new(context.out, &loaded.name);
    let watched = watch(&context.director, &loaded.name, wishes, &mut human, live).await?;
    Ok(finish(context, args, &watched, &mut human).await)
}

/// The definition, with its bundle at the Director.
async fn prepare(context: &Context, args: &Run) -> Result<Loaded, Trouble> {
    let mut loaded = match args.bundle.is_some() {
        true => definition::load_for_bundle(&args.definition)?,
        false => definition::load(&args.definition)?,
    };
    if args.bundle.is_none() {
        for warning in definition::warnings(&loaded.payload) {
            context.out.progress(format!("warning: {warning}"));
        }
    }
    if let Some(path) = &args.bundle {
        // Asked before anything is sent.
        if !loaded.clone().use_bundle("") {
            return Err(bundle::no_place(path));
        }
        let id = bundle::bring(context, path).await?;
        loaded.use_bundle(&id);
    }
    Ok(loaded)
}

/// Removes the task of this name if there is one and it is over; one that is not is left to the Director's
/// answer.
async fn remove_ended(
    context: &Context,
    name: &str,
    invocation: &Invocation,
) -> Result<(), Trouble> {
    let status = match context.director.task(name).await {
        Ok(task) => task.status,
        Err(trouble) if trouble.is_no_task() => return Ok(()),
        Err(trouble) => return Err(trouble),
    };
    if matches!(status, TaskStatus::Initializing | TaskStatus::Started) {
        return Ok(());
    }
    match context.director.remove_task(name, Some(invocation)).await {
        Err(trouble) if !trouble.is_no_task() => Err(trouble),
        _ => {
            context
                .out
                .progress(format!("removed the `{name}` of before"));
            Ok(())
        }
    }
}

/// Starts it. Safe to say twice: an equal definition of a task that lives is the same task.
async fn start(
    context: &Context,
    loaded: &Loaded,
    invocation: &Invocation,
) -> Result<TaskAccepted, Trouble> {
    let director = &context.director;
    let request = director.request(Method::PUT, &invocation.path())?;
    let request = invocation.sign(request).json(&loaded.payload);
    match director.send_again(request).await {
        Ok(response) => director.read(response).await,
        Err(trouble) => Err(taken(trouble)),
    }
}

/// Whether the run was started by another client.
fn is_attached(accepted: &TaskAccepted) -> bool {
    accepted.started_by == Some(StartedBy::Other)
}

fn attached(name: &str) -> String {
    format!(
        "`{name}` is already under way, started by another client with the same definition; neither Ctrl-C nor \
         `--timeout` stops it here (`atq stop {name}` does)"
    )
}

/// Starts it; gives the answer if it is to be watched. A signal meanwhile is for who watches it, unless the answer does
/// not come soon: then it is stopped at once. That it may have been started without an answer is said.
async fn begin(
    context: &Context,
    loaded: &Loaded,
    invocation: &Invocation,
    human: &mut Human,
) -> Result<Option<TaskAccepted>, Trouble> {
    let (out, name) = (context.out, &loaded.name);
    let mut starting = pin!(start(context, loaded, invocation));
    let started = tokio::select! {
        started = &mut starting => Some(started),
        word = human.word() => match timeout(MOMENT, &mut starting).await {
            Ok(started) => {
                human.repeat(word);
                Some(started)
            }
            Err(_) => None,
        },
    };
    let may_run = format!(
        "`{name}` may have been started: `atq show {name}` says so, `atq stop {name}` stops it"
    );
    match started {
        Some(Ok(accepted)) => Ok(Some(accepted)),
        Some(Err(trouble)) => {
            if may_pass(&trouble) {
                out.progress(may_run);
            }
            Err(trouble)
        }
        None => {
            let path = format!("task/{}/stop", segment(name));
            let request = context.director.request(Method::POST, &path)?;
            let stop = context
                .director
                .send_within(invocation.sign(request), MOMENT);
            match stop.await {
                Ok(_) => out.progress(format!("`{name}` is asked to stop")),
                Err(_) => out.progress(may_run),
            }
            Ok(None)
        }
    }
}

/// The refusal of a name that is taken also says what this program can do about it.
fn taken(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Rejected {
            status: 409,
            code,
            message,
            faults,
        } => {
            let way = match code.as_str() {
                "task_ended" => "`--replace` removes it first, `--name` chooses another name",
                _ => "`atq stop` ends it, `--name` chooses another name",
            };
            Trouble::Rejected {
                status: 409,
                message: format!("{message} ({way})"),
                code,
                faults,
            }
        }
        other => other,
    }
}

/// Brings everything back, and tells how it ended.
async fn finish(context: &Context, args: &Run, watched: &Watched, human: &mut Human) -> Exit {
    let out = context.out;
    let task = match (watched.cut, watched.task.as_deref()) {
        (cut, Some(task)) if !matches!(cut, Some(Cut::Left | Cut::Removed)) => task,
        (cut, task) => {
            if cut == Some(Cut::Removed) {
                out.progress("somebody removed the task");
            }
            // Also when the Director went away before the task was seen.
            let exit = match cut {
                Some(Cut::TimedOut) => Exit::TimedOut,
                _ => Exit::Stopped,
            };
            tell(out, task, exit, None);
            return exit;
        }
    };
    let ended = ending::exit(task, watched.cut);
    let outputs = Outputs::of(args);
    let brought = bring_unless_told(context, &outputs, task, human).await;
    for trouble in brought.troubles.iter().filter(|_| outputs.any()) {
        // The one JSON document is the outcome.
        out.aside().trouble(trouble);
    }
    let kept = args.results.as_deref().filter(|_| brought.is_over);
    // The verdict comes first; that an output is missing counts when there is nothing worse.
    let exit = match (ended, brought.troubles.first()) {
        (Exit::Pass, Some(trouble)) if brought.is_over => trouble.exit(),
        (Exit::Pass, Some(_)) => Exit::Stopped,
        (ended, _) => ended,
    };
    for line in closing::lines(task, ended, exit, kept) {
        out.line(line);
    }
    tell(out, Some(task), exit, kept);
    exit
}

/// What came of the outputs.
struct Brought {
    /// Why some are missing.
    troubles: Vec<Trouble>,
    /// Whether all of them were tried.
    is_over: bool,
}

impl Brought {
    fn nothing(trouble: Trouble) -> Self {
        Self {
            troubles: vec![trouble],
            is_over: false,
        }
    }
}

/// Brings everything back, unless a signal comes.
async fn bring_unless_told(
    context: &Context,
    outputs: &Outputs<'_>,
    task: &Task,
    human: &mut Human,
) -> Brought {
    if task.step != Step::Done {
        // Already told that it goes on.
        return Brought::nothing(Trouble::failed("there are no results yet", ""));
    }
    tokio::select! {
        biased;
        troubles = outputs.write(context, task) => Brought { troubles, is_over: true },
        () = human.signal() => {
            let hint = format!("`atq results {}` brings them", task.id);
            Brought::nothing(Trouble::failed("the results were not waited for", hint))
        }
    }
}

fn tell(out: Out, task: Option<&Task>, exit: Exit, results: Option<&Path>) {
    out.result(&Outcome {
        task,
        verdict: task.and_then(|task| task.verdict),
        exit,
        exit_code: exit.code(),
        results,
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_taken_name_comes_with_a_way_out() {
        let refused = |status: u16, code: &str| Trouble::Rejected {
            status,
            code: code.to_owned(),
            message: "no".to_owned(),
            faults: Vec::new(),
        };
        for (status, code, words) in [
            (409, "task_ended", "--replace"),
            (409, "task_exists", "atq stop"),
        ] {
            let trouble = taken(refused(status, code));
            assert!(trouble.to_string().contains(words), "{trouble}");
            assert_eq!(trouble.exit(), Exit::Rejected);
        }
        assert_eq!(taken(refused(417, "definition_faulty")).to_string(), "no");
    }

    /// A Director that accepts connections, and never answers.
    #[tokio::test(start_paused = true)]
    async fn a_signal_is_heard_while_the_start_is_not_answered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let context = Context {
            director: crate::director::Director::at(&url).unwrap(),
            out: Out::new(false),
        };
        let loaded = Loaded {
            payload: serde_json::json!({}),
            name: "load".to_owned(),
        };
        let (mut human, words) = Human::new(false, drop);
        words
            .send(crate::run::human::Word::Terminate)
            .await
            .unwrap();
        let begun = tokio::time::Instant::now();
        let invocation = Invocation::default();
        let begun_with = begin(&context, &loaded, &invocation, &mut human).await;
        assert!(begun_with.unwrap().is_none());
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
