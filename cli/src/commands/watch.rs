//! `atq watch`.

use crate::args::Watch;
use crate::commands::outcome;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::run::display::LiveDisplay;
use crate::run::interrupt::Interrupts;
use crate::run::outputs::Outputs;
use crate::run::watch::{Role, WatchOptions, WatchResult, watch as follow};
use atq_api_spec::task::Step;

/// Shows a task until its end, and returns the exit code that `atq run` would have. A signal only ends the watch.
///
/// # Errors
/// When the task does not exist, or the Director is unreachable for too long.
pub async fn watch(context: &Context, args: &Watch) -> Result<Exit, CliError> {
    let options = WatchOptions {
        follow: args.follow,
        role: Role::Watcher,
        ..WatchOptions::default()
    };
    let display = LiveDisplay::new(context.out, &args.name, args.labels);
    let mut interrupts = Interrupts::install()?;
    let watched = until_done(context, &args.name, options, display, &mut interrupts).await?;
    Ok(outcome::finish(
        context,
        &Outputs::default(),
        true,
        &watched,
        &mut interrupts,
    )
    .await)
}

/// Watches a task that may be over already.
///
/// # Errors
/// When the task does not exist, or the Director is unreachable for too long.
pub(super) async fn until_done(
    context: &Context,
    name: &str,
    options: WatchOptions,
    display: LiveDisplay,
    interrupts: &mut Interrupts,
) -> Result<WatchResult, CliError> {
    let task = context.director.task(name).await?;
    if task.step == Step::Done && !options.follow {
        return Ok(WatchResult {
            task: Some(Box::new(task)),
            early_end: None,
        });
    }
    follow(&context.director, name, options, interrupts, display).await
}
