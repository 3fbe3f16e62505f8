//! `atq report`.

use crate::Context;
use crate::args::Report as Args;
use crate::director::segment;
use crate::exit::Exit;
use crate::fetch::{bytes, save, write};
use crate::trouble::Trouble;
use crate::{gitlab, junit};
use atq_api_spec::report::Report;
use std::path::Path;

mod table;

/// Shows the figures of a task, and writes the files that are wanted.
///
/// # Errors
/// When the task is not over, there is no report of the baseline, the Director cannot be reached, or a
/// file cannot be written.
pub async fn report(context: &Context, args: &Args) -> Result<Exit, Trouble> {
    let director = &context.director;
    let path = path(args);
    let report = bytes(director, &path, "application/json").await?;
    let report: Report = serde_json::from_slice(&report).map_err(|error| {
        let message = format!("`{}` answers, but with no report: {error}", director.url());
        Trouble::failed(message, "do the versions fit? `atq version` shows them")
    })?;
    if let Some(file) = &args.html {
        save(director, &path, "text/html", file).await?;
        tell(context, file);
    }
    if let Some(file) = &args.junit {
        let task = director.task(&args.name).await?;
        write(file, junit::document(&task)).await?;
        tell(context, file);
    }
    if let Some(file) = &args.gitlab {
        write(file, gitlab::document(&report)).await?;
        tell(context, file);
    }
    for line in table::lines(&report) {
        context.out.line(line);
    }
    context.out.result(&report);
    Ok(Exit::Pass)
}

fn path(args: &Args) -> String {
    let query = args
        .baseline
        .as_ref()
        .map(|baseline| format!("?baseline={}", segment(baseline)));
    format!(
        "task/{}/report{}",
        segment(&args.name),
        query.unwrap_or_default()
    )
}

fn tell(context: &Context, file: &Path) {
    context
        .out
        .progress(format_args!("wrote {}", file.display()));
}
