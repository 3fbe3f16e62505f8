//! `atq logs`.

use crate::args::Logs;
use crate::commands::stdout::{Colours, Lines};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::logs::read;
use crate::out::DIM;
use crate::table::api_name;
use crate::terminal::SOURCES;
use anstyle::Style;
use atq_api_spec::task::{LogEntry, Step, Task, TaskStatus};

/// Prints the lines, with `--json` as NDJSON.
///
/// # Errors
/// When the Director rejects the request, or is unreachable.
pub async fn logs(context: &Context, args: &Logs) -> Result<Exit, CliError> {
    let colours = Colours::of_stdout();
    let json = context.out.json;
    let mut lines = Lines::to_stdout();
    let mut is_empty = true;
    read(context, args, |entry| {
        is_empty = false;
        let line = match json {
            true => serde_json::to_string(entry).unwrap_or_default(),
            false => line(entry, &lines.untrusted(&entry.text), colours),
        };
        lines.put(&line)
    })
    .await?;
    if is_empty && args.tail != Some(0) {
        // Best effort: the reason is only an addition.
        let task = context.director.task(&args.name).await.ok();
        let reason = task.and_then(|task| reason(&task, args.service.as_deref()));
        context.out.progress(no_lines(reason));
    }
    lines.finish()
}

fn no_lines(reason: Option<String>) -> String {
    match reason {
        Some(reason) => format!("no log lines: {reason}"),
        None => "no log lines".to_owned(),
    }
}

/// The reason why a task has no lines of this service, or of any, if its containers were not started or the start failed.
fn reason(task: &Task, service: Option<&str>) -> Option<String> {
    let (service, started_by) = match service {
        None | Some("worker") => ("the workers were", Step::Workers),
        Some("master") => ("the master was", Step::Master),
        Some("wait") => ("the wait command was", Step::WaitCommand),
        Some("readiness") => ("the readiness check was", Step::Readiness),
        Some(_) => return None,
    };
    let is_stopped = task.status == TaskStatus::Stopped;
    match &task.failure {
        Some(failure) if failure.step < Step::Running => {
            let failed = format!(
                "step `{}` failed: {}",
                api_name(&failure.step),
                failure.message
            );
            Some(match failure.step < started_by {
                true => format!("{service} not started, because {failed}"),
                false => failed,
            })
        }
        None if task.step < started_by => {
            let step = api_name(&task.step);
            Some(format!("{service} not started yet; the step is `{step}`"))
        }
        // The steps before the end are skipped, and of a stopped task only the start of its master is known.
        None if is_stopped && task.started_at.is_none() && started_by == Step::Master => Some(
            format!("{service} not started, because the task was stopped before"),
        ),
        _ => None,
    }
}

/// `<time> worker.2 <text>`.
fn line(entry: &LogEntry, text: &str, colours: Colours) -> String {
    let at = if entry.at.is_empty() { "-" } else { &entry.at };
    let source = format!("{}.{}", entry.service, entry.replica);
    let source = colours.paint(colour(entry), &source);
    format!("{} {source} {}", colours.paint(DIM, at), text)
}

/// A fixed colour for the master, alternating colours for the workers.
fn colour(entry: &LogEntry) -> Style {
    let [master, workers @ ..] = SOURCES;
    match entry.service.as_str() {
        "worker" => workers[entry.replica as usize % workers.len()],
        _ => master,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn reason_for(changes: Value, service: Option<&str>) -> String {
        let task = serde_json::from_value(crate::tests::task(changes)).unwrap();
        no_lines(reason(&task, service))
    }

    #[test]
    fn missing_lines_of_containers_that_never_started_have_a_reason() {
        let failure = json!({
            "step": "resolve", "code": "workers_timed_out", "message": "1 of 3 workers run", "hint": "",
        });
        let failed = json!({ "status": "errored", "failure": failure, "startedAt": null });
        let waiting = json!({ "status": "initializing", "step": "queued" });
        let stopped = json!({ "status": "stopped", "startedAt": null });
        let texts = [
            reason_for(failed.clone(), Some("master")),
            reason_for(failed, Some("worker")),
            reason_for(waiting.clone(), None),
            reason_for(waiting, Some("wait")),
            reason_for(stopped.clone(), Some("master")),
            reason_for(stopped, None),
            reason_for(json!({}), Some("readiness")),
        ];
        insta::assert_snapshot!(texts.join("\n"), @"
        no log lines: the master was not started, because step `resolve` failed: 1 of 3 workers run
        no log lines: step `resolve` failed: 1 of 3 workers run
        no log lines: the workers were not started yet; the step is `queued`
        no log lines: the wait command was not started yet; the step is `queued`
        no log lines: the master was not started, because the task was stopped before
        no log lines
        no log lines
        ");
    }

    fn entry(at: &str) -> LogEntry {
        LogEntry {
            at: at.to_owned(),
            service: "worker".to_owned(),
            replica: 2,
            stream: "stdout".to_owned(),
            text: "ready \u{1b}[1mnow".to_owned(),
        }
    }

    fn shown(at: &str, colours: Colours) -> String {
        let entry = entry(at);
        line(&entry, &entry.text, colours)
    }

    #[test]
    fn a_line_has_the_format_of_the_director() {
        let plain = shown("2026-01-31T12:00:00.250000000Z", Colours::Off);
        assert_eq!(
            plain,
            "2026-01-31T12:00:00.250000000Z worker.2 ready \u{1b}[1mnow"
        );
        assert!(shown("", Colours::Off).starts_with("- worker.2 "));
    }

    #[test]
    fn the_source_is_coloured_on_a_terminal() {
        let coloured = shown("-", Colours::On);
        assert!(
            coloured.contains("\u{1b}[35mworker.2\u{1b}[0m ready"),
            "{coloured:?}"
        );
    }
}
