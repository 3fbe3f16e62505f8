//! `atq rm`.

use super::stop::query;
use crate::args::Rm;
use crate::context::Context;
use crate::director::CLEAN_UP_TIMEOUT;
use crate::error::CliError;
use crate::exit::Exit;
use crate::path::segment;
use serde::Serialize;

/// The result for one task; printed in an array with `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removal<'a> {
    /// Name of the task.
    name: &'a str,
    /// Whether the task was removed completely.
    removed: bool,
    /// The reason, if not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Removes the tasks one after the other, and continues after failures. Returns the exit code of the first failure.
///
/// # Errors
/// None: failures are printed.
pub async fn rm(context: &Context, args: &Rm) -> Result<Exit, CliError> {
    let mut exit = Exit::Pass;
    let mut removals = Vec::new();
    // There is one JSON document for all tasks.
    let out = context.out.without_json();
    for name in &args.names {
        let path = format!("task/{}{}", segment(name), query(args.force));
        let removed = context.director.remove(&path, CLEAN_UP_TIMEOUT, None).await;
        let failed = removed.err();
        match &failed {
            None => context.out.line(name),
            Some(error) => {
                out.error(error);
                exit = exit.or(error.exit());
            }
        }
        removals.push(Removal {
            name,
            removed: failed.is_none(),
            error: failed.map(|error| error.to_string()),
        });
    }
    context.out.result(&removals);
    Ok(exit)
}
