//! `atq wait`.

use crate::args::Wait;
use crate::commands::outcome::{self, print_outcome};
use crate::commands::watch::until_done;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::run::display::LiveDisplay;
use crate::run::ending::EarlyEnd;
use crate::run::interrupt::Interrupts;
use crate::run::outputs::Outputs;
use crate::run::watch::{Role, WatchOptions};

/// Waits for the end of a task, and returns the exit code that `atq run` would have. A signal only ends the wait.
///
/// # Errors
/// When the task does not exist, or the Director is unreachable for too long.
pub async fn wait(context: &Context, args: &Wait) -> Result<Exit, CliError> {
    let options = WatchOptions {
        timeout: args.timeout,
        role: Role::Waiter,
        ..WatchOptions::default()
    };
    let display = LiveDisplay::quiet(context.out, &args.name);
    let mut interrupts = Interrupts::install()?;
    let watched = until_done(context, &args.name, options, display, &mut interrupts).await?;
    if watched.early_end == Some(EarlyEnd::TimedOut) {
        // Reported by a message; the test itself has not timed out.
        print_outcome(context.out, watched.task.as_deref(), Exit::TimedOut, None);
        return Ok(Exit::TimedOut);
    }
    Ok(outcome::finish(
        context,
        &Outputs::default(),
        false,
        &watched,
        &mut interrupts,
    )
    .await)
}
