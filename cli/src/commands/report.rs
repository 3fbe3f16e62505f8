//! `atq report`.

use crate::args::Report as Args;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::fetch::{bytes, save};
use crate::output::named;
use crate::path::{segment, with_query};
use crate::{gitlab, junit};
use atq_api_spec::report::Report;
use std::path::Path;

mod table;

/// Shows the figures of a task, and writes the requested files.
///
/// # Errors
/// When the task is not over, the baseline has no report, the Director is unreachable, or a file cannot be written.
pub async fn report(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let director = &context.director;
    for (option, file) in [
        ("--html", &args.html),
        ("--junit", &args.junit),
        ("--gitlab", &args.gitlab),
    ] {
        if let Some(file) = file {
            named::probe(option, file)?;
        }
    }
    let path = path(args);
    let report = bytes(director, &path, "application/json").await?;
    let report: Report = serde_json::from_slice(&report).map_err(|error| {
        let message = format!("invalid report from `{}`: {error}", director.url());
        CliError::failed(message, "check that the versions match: `atq version`")
    })?;
    let mut exit = Exit::Pass;
    let mut wrote = |file: &Path, written: Result<(), CliError>| match written {
        Ok(()) => context
            .out
            .progress(format_args!("wrote {}", file.display())),
        Err(error) => {
            // The only JSON document is the report.
            context.out.without_json().error(&error);
            exit = exit.or(error.exit());
        }
    };
    if let Some(file) = &args.html {
        wrote(file, save(director, &path, "text/html", file).await);
    }
    if let Some(file) = &args.junit {
        let task = director.task(&args.name).await;
        wrote(
            file,
            task.and_then(|task| named::write(file, junit::document(&task))),
        );
    }
    if let Some(file) = &args.gitlab {
        wrote(file, named::write(file, gitlab::document(&report)));
    }
    context.out.show(table::lines(&report), &report);
    Ok(exit)
}

fn path(args: &Args) -> String {
    let path = format!("task/{}/report", segment(&args.name));
    with_query(&path, [("baseline", args.baseline.as_deref().map(segment))])
}
