//! The command line of the ATQ Director: one line that runs a load test, shows it, brings its results,
//! and ends with an exit code that a pipeline can trust.
//!
//! - [`args`]: what can be asked for; [`exit`]: how it can end; [`trouble`]: what can go wrong;
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
#[cfg(test)]
mod canned;
pub mod client;
pub mod commands;
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

use args::Args;
use director::Director;
use exit::Exit;
use out::Out;
use trouble::Trouble;

/// What every command has at hand.
#[derive(Debug)]
pub struct Context {
    /// The Director.
    pub director: Director,
    /// Where to write.
    pub out: Out,
}

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

/// A command line that cannot be read: the JSON document about it, if one is wanted. The words are clap's.
pub fn misunderstood(fault: &clap::Error) {
    let words = std::env::args_os().take_while(|word| word != "--");
    if fault.use_stderr() && words.skip(1).any(|word| word == "--json") {
        let text = fault.to_string();
        let line = text.lines().next().unwrap_or_default();
        let message = match fault.kind() {
            clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                "a command is missing"
            }
            _ => line.strip_prefix("error: ").unwrap_or(line),
        };
        Out::new(true).failure(&Trouble::usage(message, "`--help` shows what there is"));
    }
}

async fn perform(args: Args, out: Out) -> Result<Exit, Trouble> {
    let director = match args.command.needs_director() {
        true => settings::director(args.url.as_deref(), args.ca.as_deref())?,
        false => Director::at(settings::DEFAULT_URL)?,
    };
    commands::perform(&Context { director, out }, &args.command).await
}
