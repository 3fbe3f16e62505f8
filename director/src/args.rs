//! The command line.

use atq_run::orphans::OrphanPolicy;
use clap::{Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs distributed load tests on Docker Swarm.
///
/// Without a command, serves the HTTP API until SIGTERM or Ctrl-C. The configuration is read from
/// `controller-config.yaml` (or `.yml`) in the working directory; `config example` prints a complete one. Exit codes:
/// 0 ended by a signal, 1 failed, 2 invalid configuration or arguments.
#[derive(Debug, Parser)]
#[command(name = "atq-director", version)]
pub struct Args {
    /// Configuration file.
    #[arg(long, global = true, value_name = "FILE", env = "ATQ_CONFIG")]
    pub config: Option<PathBuf>,
    /// Handling of Docker objects with this Director's id that belong to no stored task, for example after a loss of
    /// the data directory.
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        env = "ATQ_ADOPT_ORPHANS",
        default_value = "remove"
    )]
    pub adopt_orphans: AdoptOrphans,
    /// Command to run instead of the server.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands besides the server.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Inspect the configuration.
    Config {
        /// Command for the configuration.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Check, export or import the store of tasks, while no Director runs.
    ///
    /// The store is in `state` below the `datadir` of the configuration. Exit codes: 0 success, 1 failed or a task
    /// has a problem, 2 invalid configuration or arguments.
    Store {
        /// Command for the store.
        #[command(subcommand)]
        command: StoreCommand,
    },
}

/// Commands for the store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Export all readable tasks, one JSON object per line.
    ///
    /// Definitions contain the values of `environment`, including passwords: protect the file accordingly. Unreadable
    /// tasks are skipped and reported on standard error; the exit code is then 1. If the store cannot be opened, a
    /// copy is made and read as far as possible.
    Export {
        /// Output file; it must not exist, and only its owner can read it. Default: standard output.
        file: Option<PathBuf>,
    },
    /// Import exported tasks into an empty store: all of them, or none.
    Import {
        /// Exported file.
        file: PathBuf,
    },
    /// Report problems of stored tasks; exit code 1 if there are any.
    Check,
}

/// Handling of Docker objects that belong to no stored task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AdoptOrphans {
    /// Remove objects created with this host name, data directory and port
    Remove,
    /// Remove all such objects
    RemoveAll,
    /// Only report them
    Keep,
}

impl From<AdoptOrphans> for OrphanPolicy {
    fn from(adopt: AdoptOrphans) -> Self {
        match adopt {
            AdoptOrphans::Remove => Self::Remove,
            AdoptOrphans::RemoveAll => Self::RemoveAll,
            AdoptOrphans::Keep => Self::Keep,
        }
    }
}

/// Commands for the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Report all faults; exit code 0 if there are none, else 2.
    Check,
    /// Print a complete example with comments.
    Example,
}

/// Prints `text`. A closed reader (`| head -1`) or a full disk is a failure, not a panic as with `print!`.
pub fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
