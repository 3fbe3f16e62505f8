//! The command line client of the ATQ Director: runs a load test with one command, shows its progress, downloads its
//! results, and exits with a code that a pipeline can rely on.
//!
//! - [`args`]: arguments; [`exit`]: exit codes; [`error`]: errors;
//! - [`context`]: shared state of all commands;
//! - [`settings`]: the Director and the token of a command; [`contexts`]: those that `atq login` stores; [`token`]: where a
//!   token comes from, and how it is sent;
//! - [`director`] and [`path`]: requests to the Director; [`client`], [`socket`] and [`trust`]: connections;
//! - [`out`], [`table`] and [`terminal`]: lines, JSON, columns and colours; control sequences in untrusted text are
//!   escaped;
//! - [`output`]: output files, which never replace files of other programs;
//! - [`definition`] and [`bundle`]: uploads; [`save`], [`junit`], [`gitlab`]: outputs of a run;
//! - [`logs`] and [`events`]: streams; [`retry`]: the retry policy; [`fetch`] and [`unpack`]: downloads;
//! - [`mod@run`]: watching a test until its end;
//! - [`commands`]: one module per command.

pub mod args;
pub mod bundle;
pub mod client;
pub mod commands;
pub mod context;
pub mod contexts;
pub mod definition;
pub mod director;
pub mod error;
pub mod events;
pub mod exit;
pub mod fetch;
pub mod gitlab;
pub mod junit;
pub mod logs;
pub mod out;
pub mod output;
pub mod path;
pub mod retry;
pub mod run;
pub mod save;
pub mod settings;
pub mod socket;
pub mod table;
pub mod terminal;
pub mod token;
pub mod trust;
pub mod unpack;

#[cfg(test)]
mod tests;

pub use context::Context;

use args::{Args, Command};
use director::Director;
use error::CliError;
use exit::Exit;
use out::Out;
use settings::{Settings, Sources};

/// Runs the command and returns the exit code.
pub async fn run(args: Args) -> Exit {
    let out = Out::new(args.json);
    match perform(args, out).await {
        Ok(exit) => exit,
        Err(error) => {
            out.error(&error);
            error.exit()
        }
    }
}

/// Prints clap's output: help and version to standard output, errors to standard error, and with `--json` also the JSON
/// document of an error. Returns the exit code.
pub fn report_usage_error(fault: &clap::Error) -> u8 {
    let out = Out::new(wants_json());
    if fault.use_stderr() {
        out.failure(&CliError::usage(
            summary(fault),
            "`--help` lists commands and options",
        ));
    }
    // An error quotes arguments, which may contain control sequences. Help does not, so it keeps clap's colours.
    match fault.use_stderr() && out.is_interactive {
        true => out.progress(fault.render().to_string().trim_end()),
        false => drop(fault.print()),
    }
    u8::try_from(fault.exit_code()).unwrap_or(Exit::Usage.code())
}

fn wants_json() -> bool {
    let args = std::env::args_os().take_while(|arg| arg != "--");
    args.skip(1).any(|arg| arg == "--json")
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

async fn perform(args: Args, out: Out) -> Result<Exit, CliError> {
    let sources = Sources::of_process();
    let connection = &args.connection;
    let director = match &args.command {
        Command::Login(login) => return commands::login(connection, &sources, login, out).await,
        Command::Logout(logout) => {
            return commands::logout(connection, &sources, logout, out).await;
        }
        Command::Context(contexts) => return commands::context(&sources, contexts, out),
        command if command.needs_director() => {
            let settings = Settings::resolve(connection, &sources)?;
            settings.director(out).await?
        }
        _ => Director::at(settings::DEFAULT_URL)?,
    };
    commands::perform(&Context { director, out }, &args.command).await
}
