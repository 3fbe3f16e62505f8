//! `atq run`.

use crate::args::Run;
use crate::commands::outcome::{self, print_outcome};
use crate::context::Context;
use crate::definition::Loaded;
use crate::director::CLEAN_UP_TIMEOUT;
use crate::error::CliError;
use crate::exit::Exit;
use crate::path::segment;
use crate::run::display::LiveDisplay;
use crate::run::interrupt::Interrupts;
use crate::run::invocation::Invocation;
use crate::run::outputs::Outputs;
use crate::run::watch::{Role, Timeouts, WatchOptions, watch};
use crate::table::api_name;
use crate::{bundle, definition};
use atq_api_spec::task::{StartedBy, TaskAccepted, TaskStatus};
use reqwest::Method;
use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// After a signal during the start: the timeout for the response to the start, and then for the stop request.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(4);

/// Runs a test and watches it until its end, unless it is detached.
///
/// # Errors
/// When the test cannot be started, or the Director is unreachable for too long. Later failures only set the exit code.
pub async fn run(context: &Context, args: &Run) -> Result<Exit, CliError> {
    // Checked before the test, so that an unwritable path does not fail afterwards.
    Outputs::of(args).probe()?;
    let invocation = Invocation::new(args)?;
    let loaded = prepare(context, args).await?;
    if args.replace {
        remove_ended(context, &loaded.name, &invocation).await?;
    }
    if args.detach {
        let accepted = start(context, &loaded, &invocation, |_| {}).await?;
        context
            .out
            .line(format!("{} {}", accepted.id, api_name(&accepted.status)));
        context.out.result(&accepted);
        return Ok(Exit::Pass);
    }
    // Installed before the start, so that a signal does not leave a running test behind.
    let mut interrupts = Interrupts::install()?;
    let Some(accepted) = begin(context, &loaded, &invocation, &mut interrupts).await? else {
        print_outcome(context.out, None, Exit::Stopped, None);
        return Ok(Exit::Stopped);
    };
    let options = WatchOptions {
        follow: args.follow,
        timeout: args.timeout,
        role: match is_attached(&accepted) {
            true => Role::Attached,
            false => Role::Owner,
        },
        invocation,
        timeouts: Timeouts::default(),
    };
    let display = LiveDisplay::new(context.out, &loaded.name, args.labels);
    let watched = watch(
        &context.director,
        &loaded.name,
        options,
        &mut interrupts,
        display,
    )
    .await?;
    Ok(outcome::finish(context, &Outputs::of(args), true, &watched, &mut interrupts).await)
}

/// Loads the definition and uploads its bundle.
async fn prepare(context: &Context, args: &Run) -> Result<Loaded, CliError> {
    let mut loaded = definition::load(&args.definition, args.bundle.is_some())?;
    let Some(path) = &args.bundle else {
        for warning in definition::warnings(&loaded.payload) {
            context.out.progress(format!("warning: {warning}"));
        }
        return Ok(loaded);
    };
    // Checked before the upload.
    if !loaded.clone().use_bundle("") {
        return Err(bundle::unused_bundle(path));
    }
    let uploaded = bundle::upload(context, path).await?;
    loaded.use_bundle(&uploaded.id);
    Ok(loaded)
}

/// Removes a finished task of this name. A running one is left; the Director then rejects the start.
async fn remove_ended(
    context: &Context,
    name: &str,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let status = match context.director.task(name).await {
        Ok(task) => task.status,
        Err(error) if error.is_task_not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    if matches!(status, TaskStatus::Initializing | TaskStatus::Started) {
        return Ok(());
    }
    let path = format!("task/{}", segment(name));
    let director = &context.director;
    match director
        .remove(&path, CLEAN_UP_TIMEOUT, Some(invocation))
        .await
    {
        Err(error) if !error.is_task_not_found() => return Err(error),
        _ => context
            .out
            .progress(format!("removed the finished task `{name}`")),
    }
    Ok(())
}

/// Starts the test. Safe to repeat: an equal definition of a running task is the same task. Passes the error of each attempt
/// to `note`.
async fn start(
    context: &Context,
    loaded: &Loaded,
    invocation: &Invocation,
    note: impl Fn(&CliError),
) -> Result<TaskAccepted, CliError> {
    let director = &context.director;
    let request = director.request(Method::PUT, &invocation.path())?;
    let request = invocation.sign(request).json(&loaded.payload);
    let response = director.send_and_note(request, &note).await;
    let accepted: Result<TaskAccepted, CliError> =
        director.read(response.map_err(with_advice)?).await;
    let accepted = accepted.inspect_err(&note)?;
    if is_attached(&accepted) {
        context.out.progress(attached(&loaded.name));
    }
    Ok(accepted)
}

/// Whether the run was started by another client.
fn is_attached(accepted: &TaskAccepted) -> bool {
    accepted.started_by == Some(StartedBy::Other)
}

fn attached(name: &str) -> String {
    format!(
        "`{name}` is already running, started by another client with the same definition; Ctrl-C and `--timeout` do \
         not stop it, use `atq stop {name}`"
    )
}

/// Starts the test; returns the response, or `None` after a signal. A signal during the start is re-queued for the watch. When
/// the response takes too long, the test is stopped at once. If the test may be running without a response, a message
/// reports this.
async fn begin(
    context: &Context,
    loaded: &Loaded,
    invocation: &Invocation,
    interrupts: &mut Interrupts,
) -> Result<Option<TaskAccepted>, CliError> {
    let (out, name) = (context.out, &loaded.name);
    // An attempt without a response may have started the test, whatever happened to the next one.
    let may_run = Cell::new(false);
    let note = |error: &CliError| may_run.set(may_run.get() || error.may_be_done());
    let mut starting = pin!(start(context, loaded, invocation, note));
    let started = tokio::select! {
        started = &mut starting => Some(started),
        input = interrupts.next() => match timeout(SIGNAL_TIMEOUT, &mut starting).await {
            Ok(started) => {
                interrupts.requeue(input);
                Some(started)
            }
            Err(_) => None,
        },
    };
    let advice = format!(
        "`{name}` may have been started: check with `atq show {name}`, stop it with `atq stop {name}`"
    );
    match started {
        Some(Ok(accepted)) => Ok(Some(accepted)),
        Some(Err(error)) => {
            if may_run.get() {
                out.progress(advice);
            }
            Err(error)
        }
        None => {
            let path = format!("task/{}/stop", segment(name));
            let request = context.director.request(Method::POST, &path)?;
            let stop = context
                .director
                .send_within(invocation.sign(request), SIGNAL_TIMEOUT);
            match stop.await {
                Ok(_) => out.progress(format!("stopping `{name}`")),
                Err(_) => out.progress(advice),
            }
            Ok(None)
        }
    }
}

/// Adds advice to the rejection of a name that is taken.
fn with_advice(error: CliError) -> CliError {
    match error {
        CliError::Rejected {
            status: 409,
            code,
            message,
            faults,
        } => {
            let advice = match code.as_str() {
                "task_ended" => "`--replace` removes it first, `--name` chooses another name",
                _ => "`atq stop` ends it, `--name` chooses another name",
            };
            CliError::Rejected {
                status: 409,
                message: format!("{message} ({advice})"),
                code,
                faults,
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::out::Out;

    #[test]
    fn the_rejection_of_a_taken_name_has_advice() {
        let refused = |status: u16, code: &str| CliError::Rejected {
            status,
            code: code.to_owned(),
            message: "no".to_owned(),
            faults: Vec::new(),
        };
        for (status, code, advice) in [
            (409, "task_ended", "--replace"),
            (409, "task_exists", "atq stop"),
        ] {
            let error = with_advice(refused(status, code));
            assert!(error.to_string().contains(advice), "{error}");
            assert_eq!(error.exit(), Exit::Rejected);
        }
        assert_eq!(
            with_advice(refused(417, "definition_faulty")).to_string(),
            "no"
        );
    }

    /// Whether an attempt of the start may have succeeded, after these responses of a Director or a proxy.
    async fn may_run_after(answers: &[(u16, &'static str)]) -> bool {
        use axum::routing::put;
        let answers = std::sync::Mutex::new(Vec::from(answers).into_iter());
        let answers = std::sync::Arc::new(answers);
        let answer = move || {
            let (status, code) = answers.lock().unwrap().next().unwrap();
            let body = match code {
                "" => "<html>".to_owned(),
                code => serde_json::json!({"error": "no", "code": code}).to_string(),
            };
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            std::future::ready((status, body))
        };
        let routes = axum::Router::new().route("/task", put(answer));
        let context = crate::tests::director(routes).await;
        let loaded = Loaded {
            payload: serde_json::json!({}),
            name: "load".to_owned(),
        };
        let may_run = Cell::new(false);
        let note = |error: &CliError| may_run.set(may_run.get() || error.may_be_done());
        let started = start(&context, &loaded, &Invocation::default(), note).await;
        assert!(started.is_err());
        may_run.get()
    }

    #[tokio::test]
    async fn a_test_that_the_director_refuses_was_not_started() {
        assert!(!may_run_after(&[(500, "docker_refused")]).await);
        assert!(!may_run_after(&[(503, "docker_unavailable"), (417, "definition_faulty")]).await);
    }

    #[tokio::test]
    async fn a_test_may_run_if_one_attempt_was_not_answered_by_the_director() {
        assert!(may_run_after(&[(500, "")]).await);
        assert!(may_run_after(&[(502, ""), (500, "docker_refused")]).await);
    }

    /// A Director that accepts connections but never responds.
    #[tokio::test(start_paused = true)]
    async fn a_signal_is_handled_during_the_start() {
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
        let (mut interrupts, sender) = Interrupts::new(false, drop);
        sender
            .send(crate::run::interrupt::Input::Terminate)
            .await
            .unwrap();
        let begun = tokio::time::Instant::now();
        let invocation = Invocation::default();
        let begun_with = begin(&context, &loaded, &invocation, &mut interrupts).await;
        assert!(begun_with.unwrap().is_none());
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
