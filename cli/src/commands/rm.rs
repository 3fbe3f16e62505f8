//! `atq rm`.

use super::stop::query;
use crate::args::Rm;
use crate::context::Context;
use crate::director::{CLEAN_UP, segment};
use crate::exit::Exit;
use crate::trouble::Trouble;
use serde::Serialize;

/// How it went with one task; printed in an array with `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removal<'a> {
    /// Name of the task.
    name: &'a str,
    /// Whether nothing is left of it.
    removed: bool,
    /// Why something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Removes one after the other, whatever becomes of those before; ends with the exit code of the first failure.
///
/// # Errors
/// None: they are told on the way.
pub async fn rm(context: &Context, args: &Rm) -> Result<Exit, Trouble> {
    let mut exit = Exit::Pass;
    let mut removals = Vec::new();
    // There is one JSON document for all of them.
    let aside = context.out.aside();
    for name in &args.names {
        let path = format!("task/{}{}", segment(name), query(args.force));
        let failed = context.director.remove(&path, CLEAN_UP).await.err();
        match &failed {
            None => context.out.line(name),
            Some(trouble) => {
                aside.trouble(trouble);
                exit = if exit == Exit::Pass {
                    trouble.exit()
                } else {
                    exit
                };
            }
        }
        removals.push(Removal {
            name,
            removed: failed.is_none(),
            error: failed.map(|trouble| trouble.to_string()),
        });
    }
    context.out.result(&removals);
    Ok(exit)
}
