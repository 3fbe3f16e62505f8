//! `atq run`.

use crate::again::may_pass;
use crate::args::Run;
use crate::definition::Loaded;
use crate::director::segment;
use crate::exit::Exit;
use crate::out::Out;
use crate::run::closing;
use crate::run::ending::{self, Cut};
use crate::run::human::Human;
use crate::run::live::Live;
use crate::run::watch::{Patience, Watched, Wishes, watch};
use crate::table::word;
use crate::trouble::Trouble;
use crate::{Context, bundle, definition, fetch, gitlab, junit, keep};
use atq_api_spec::report::{Report, Verdict};
use atq_api_spec::task::{Step, Task, TaskAccepted, TaskStatus};
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
    if let Some(dir) = &args.results {
        // Now, and not when the test is over.
        keep::may_use(dir)?;
    }
    let loaded = prepare(context, args).await?;
    if args.replace {
        remove_ended(context, &loaded.name).await?;
    }
    if args.detach {
        let accepted = start(context, &loaded).await?;
        context
            .out
            .line(format!("{} {}", accepted.id, word(&accepted.status)));
        context.out.result(&accepted);
        return Ok(Exit::Pass);
    }
    // Before the start: whoever ends this program from now on must not leave a test behind.
    let mut human = Human::listen()?;
    if !begin(context, &loaded, &mut human).await? {
        tell(context.out, None, Exit::Stopped, None);
        return Ok(Exit::Stopped);
    }
    let wishes = Wishes {
        follow: args.follow,
        timeout: args.timeout,
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
async fn remove_ended(context: &Context, name: &str) -> Result<(), Trouble> {
    let status = match context.director.task(name).await {
        Ok(task) => task.status,
        Err(Trouble::Rejected { status: 404, .. }) => return Ok(()),
        Err(trouble) => return Err(trouble),
    };
    if matches!(status, TaskStatus::Initializing | TaskStatus::Started) {
        return Ok(());
    }
    match context.director.remove_task(name).await {
        Ok(()) | Err(Trouble::Rejected { status: 404, .. }) => {
            context
                .out
                .progress(format!("removed the `{name}` of before"));
            Ok(())
        }
        Err(trouble) => Err(trouble),
    }
}

/// Starts it. Safe to say twice: an equal definition of a task that lives is the same task.
async fn start(context: &Context, loaded: &Loaded) -> Result<TaskAccepted, Trouble> {
    let director = &context.director;
    let request = director.request(Method::PUT, "task")?.json(&loaded.payload);
    match director.send_again(request).await {
        Ok(response) => director.read(response).await,
        Err(trouble) => Err(taken(trouble)),
    }
}

/// Starts it; gives whether it is to be watched. A signal meanwhile is for who watches it, unless the answer does
/// not come soon: then it is stopped at once. That it may have been started without an answer is said.
async fn begin(context: &Context, loaded: &Loaded, human: &mut Human) -> Result<bool, Trouble> {
    let (out, name) = (context.out, &loaded.name);
    let mut starting = pin!(start(context, loaded));
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
        Some(Ok(_)) => Ok(true),
        Some(Err(trouble)) => {
            if may_pass(&trouble) {
                out.progress(may_run);
            }
            Err(trouble)
        }
        None => {
            let path = format!("task/{}/stop", segment(name));
            let request = context.director.request(Method::POST, &path)?;
            match context.director.send_within(request, MOMENT).await {
                Ok(_) => out.progress(format!("`{name}` is asked to stop")),
                Err(_) => out.progress(may_run),
            }
            Ok(false)
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
    let exit = ending::exit(task, watched.cut);
    let (brought, worst) = bring_unless_told(context, args, task, human).await;
    let kept = brought.as_ref().ok().and(args.results.as_deref());
    let exit = match exit {
        Exit::Pass => worst,
        exit => exit,
    };
    if let (Err(trouble), true) = (&brought, wants_anything(args)) {
        // The one JSON document is the outcome.
        Out { json: false, ..out }.trouble(trouble);
    }
    for line in closing::lines(task, exit, kept) {
        out.line(line);
    }
    tell(out, Some(task), exit, kept);
    exit
}

/// Brings everything back; gives how a test ends at best that has passed.
async fn bring_unless_told(
    context: &Context,
    args: &Run,
    task: &Task,
    human: &mut Human,
) -> (Result<(), Trouble>, Exit) {
    if task.step != Step::Done {
        // Already told that it goes on.
        let nothing = Trouble::failed("there are no results yet", "");
        return (Err(nothing), Exit::Stopped);
    }
    tokio::select! {
        biased;
        brought = bring(context, args, task) => {
            let worst = brought.as_ref().err().map_or(Exit::Pass, Trouble::exit);
            (brought, worst)
        }
        () = human.signal() => {
            let hint = format!("`atq results {}` brings them", task.id);
            (Err(Trouble::failed("the results were not waited for", hint)), Exit::Stopped)
        }
    }
}

fn wants_anything(args: &Run) -> bool {
    args.results.is_some() || args.junit.is_some() || args.gitlab.is_some()
}

/// Everything that was wanted; the small files first, so that a pipeline has them whatever comes. What cannot
/// be brought holds up nothing else; the first trouble is told.
async fn bring(context: &Context, args: &Run, task: &Task) -> Result<(), Trouble> {
    let junit = match &args.junit {
        Some(path) => fetch::write(path, junit::document(task)).await,
        None => Ok(()),
    };
    let figures = match &args.gitlab {
        Some(path) => bring_figures(context, &task.id, path).await,
        None => Ok(()),
    };
    let kept = match &args.results {
        Some(dir) => keep::keep(context, &task.id, dir).await,
        None => Ok(()),
    };
    junit.and(figures).and(kept)
}

async fn bring_figures(context: &Context, name: &str, path: &Path) -> Result<(), Trouble> {
    let from = format!("task/{}/report?format=json", segment(name));
    let report = fetch::bytes(&context.director, &from, "application/json").await?;
    let report: Report = serde_json::from_slice(&report).map_err(|error| {
        Trouble::failed(
            format!("the report of `{name}` cannot be read: {error}"),
            "",
        )
    })?;
    fetch::write(path, gitlab::document(&report)).await
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
        assert!(!begin(&context, &loaded, &mut human).await.unwrap());
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
