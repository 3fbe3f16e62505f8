//! The command line of the ATQ Director: one line that runs a load test, shows it, brings its results,
//! and ends with an exit code that a pipeline can trust.
//!
//! - [`args`]: what can be asked for; [`exit`]: how it can end; [`trouble`]: what can go wrong;
//! - [`context`]: what every command has at hand;
//! - [`settings`]: where the Director is; [`director`]: the calls to it; [`client`] and [`trust`]: connections;
//! - [`out`], [`table`] and [`terminal`]: lines, JSON, columns, colours; nothing that a terminal would obey;
//! - [`output`]: files that are written, and nobody else's file is lost;
//! - [`definition`] and [`bundle`]: what is sent; [`keep`], [`junit`], [`gitlab`]: what is brought back;
//! - [`logs`] and [`events`]: what is followed; [`again`]: patience with lost connections; [`fetch`] and
//!   [`unpack`]: files;
//! - [`mod@run`]: watching a test to its end;
//! - [`commands`]: one module for each command.

pub mod again;
pub mod args;
pub mod bundle;
pub mod client;
pub mod commands;
pub mod context;
pub mod definition;
pub mod director;
pub mod events;
pub mod exit;
pub mod fetch;
pub mod gitlab;
pub mod junit;
pub mod keep;
pub mod logs;
pub mod out;
pub mod output;
pub mod run;
pub mod settings;
pub mod table;
pub mod terminal;
pub mod trouble;
pub mod trust;
pub mod unpack;

#[cfg(test)]
mod tests;

pub use context::Context;

use args::Args;
use director::Director;
use exit::Exit;
use out::Out;
use trouble::Trouble;

/// Does what was asked for, and says how it ended.
pub async fn run(args: Args) -> Exit {
    let out = Out::new(args.json);
    match perform(args, out).await {
        Ok(exit) => exit,
        Err(trouble) => {
            out.trouble(&trouble);
            trouble.exit()
        }
    }
}

/// Writes what clap has to say about the command line: help and version to standard output, errors to standard error,
/// and with `--json` also the JSON document about an error. Gives the exit code.
pub fn misunderstood(fault: &clap::Error) -> u8 {
    let out = Out::new(wants_json());
    if fault.use_stderr() {
        out.failure(&Trouble::usage(
            summary(fault),
            "`--help` shows what there is",
        ));
    }
    // An error quotes arguments, which may hold control sequences; help has none, and keeps clap's colours.
    match fault.use_stderr() && out.watched {
        true => out.progress(fault.render().to_string().trim_end()),
        false => drop(fault.print()),
    }
    u8::try_from(fault.exit_code()).unwrap_or(Exit::Usage.code())
}

fn wants_json() -> bool {
    let words = std::env::args_os().take_while(|word| word != "--");
    words.skip(1).any(|word| word == "--json")
}

fn summary(fault: &clap::Error) -> String {
    let text = fault.to_string();
    let line = text.lines().next().unwrap_or_default();
    match fault.kind() {
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a command is missing".to_owned()
        }
        _ => line.strip_prefix("error: ").unwrap_or(line).to_owned(),
    }
}

async fn perform(args: Args, out: Out) -> Result<Exit, Trouble> {
    let director = match args.command.needs_director() {
        true => settings::director(args.url.as_deref(), args.ca.as_deref())?,
        false => Director::at(settings::DEFAULT_URL)?,
    };
    commands::perform(&Context { director, out }, &args.command).await
}
