//! The end of a watched test: its outputs, its figures and its verdict.

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::Out;
use crate::path::segment;
use crate::run::console::{self, text::Line};
use crate::run::ending::{self, EarlyEnd};
use crate::run::interrupt::Interrupts;
use crate::run::outputs::Outputs;
use crate::run::summary;
use crate::run::watch::WatchResult;
use crate::terminal::Size;
use crate::{fetch, save};
use atq_api_spec::report::{Report, Verdict};
use atq_api_spec::task::{Step, Task};
use serde::Serialize;
use std::path::Path;

/// The `--json` document at the end of a test.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    /// The last known state of the task; `None` when the task was removed before.
    task: Option<&'a Task>,
    /// The verdict, if there is one.
    verdict: Option<Verdict>,
    /// The exit code by name.
    exit: Exit,
    /// The numeric exit code.
    exit_code: u8,
    /// The directory of the results, if they were requested and saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<&'a Path>,
}

/// Writes the outputs and prints the verdict, optionally a table of the figures, and where the report is. Returns the exit code.
pub async fn finish(
    context: &Context,
    outputs: &Outputs<'_>,
    with_figures: bool,
    watched: &WatchResult,
    interrupts: &mut Interrupts,
) -> Exit {
    let out = context.out;
    let task = match (watched.early_end, watched.task.as_deref()) {
        (end, Some(task)) if !matches!(end, Some(EarlyEnd::Detached | EarlyEnd::Removed)) => task,
        (end, task) => {
            if end == Some(EarlyEnd::Removed) {
                out.progress("the task was removed");
            }
            // This also applies if the Director became unreachable before the first response.
            let exit = match end {
                Some(EarlyEnd::TimedOut) => Exit::TimedOut,
                _ => Exit::Stopped,
            };
            print_outcome(out, task, exit, None);
            return exit;
        }
    };
    let ended = ending::exit(task, watched.early_end);
    let written = write_outputs(context, outputs, task, interrupts).await;
    let is_complete = written.is_ok();
    let errors = written.unwrap_or_else(|error| vec![error]);
    for error in errors.iter().filter(|_| outputs.any()) {
        // The only JSON document is the outcome.
        out.without_json().error(error);
    }
    let saved = outputs.results().filter(|_| is_complete);
    // A missing output changes the exit code only if the test passed.
    let exit = match (ended, errors.first()) {
        (Exit::Pass, Some(_)) if !is_complete => Exit::Stopped,
        (ended, Some(error)) => ended.or(error.exit()),
        (ended, None) => ended,
    };
    for line in summary::lines(task, ended, exit, saved) {
        out.line(line);
    }
    if with_figures && !out.json {
        let lines = figures(context, task, interrupts).await;
        lines.into_iter().for_each(|line| out.line(line));
    }
    if task.step == Step::Done {
        let page = saved.map(|dir| dir.join(save::PAGE));
        let page = page.filter(|page| page.is_file());
        out.line(summary::report(
            context.director.url(),
            &task.id,
            page.as_deref(),
        ));
    }
    print_outcome(out, Some(task), exit, saved);
    exit
}

/// Writes the outputs and returns the errors of missing ones.
///
/// # Errors
/// When the test is not over, or a signal interrupts.
async fn write_outputs(
    context: &Context,
    outputs: &Outputs<'_>,
    task: &Task,
    interrupts: &mut Interrupts,
) -> Result<Vec<CliError>, CliError> {
    if task.step != Step::Done {
        // The message that the task keeps running was printed already.
        return Err(CliError::failed("there are no results yet", ""));
    }
    tokio::select! {
        biased;
        errors = outputs.write(context, task) => Ok(errors),
        () = interrupts.signal() => {
            let hint = format!("download them with `atq results {}`", task.id);
            Err(CliError::failed("interrupted while downloading the results", hint))
        }
    }
}

/// The table of the figures of an ended task, after an empty line. Without figures: the reason.
async fn figures(context: &Context, task: &Task, interrupts: &mut Interrupts) -> Vec<Line> {
    if task.step != Step::Done {
        return Vec::new();
    }
    let path = format!("task/{}/report", segment(&task.id));
    let report = tokio::select! {
        biased;
        report = fetch::bytes(&context.director, &path, "application/json") => report,
        () = interrupts.signal() => return Vec::new(),
    };
    let report = report.and_then(|report| {
        serde_json::from_slice::<Report>(&report)
            .map_err(|error| CliError::failed(format!("the report is invalid: {error}"), ""))
    });
    let columns = Size::of(std::io::stdout()).map(|size| size.columns);
    match report {
        Ok(report) => match console::final_table(&report, columns) {
            lines if lines.is_empty() => report.notes.iter().map(Line::plain).collect(),
            lines => [Line::default()].into_iter().chain(lines).collect(),
        },
        Err(error) => {
            context
                .out
                .progress(format!("cannot show the figures: {error}"));
            Vec::new()
        }
    }
}

/// Prints the result as JSON, if requested.
pub fn print_outcome(out: Out, task: Option<&Task>, exit: Exit, results: Option<&Path>) {
    out.result(&Outcome {
        task,
        verdict: task.and_then(|task| task.verdict),
        exit,
        exit_code: exit.code(),
        results,
    });
}
