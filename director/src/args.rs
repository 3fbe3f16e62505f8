//! The command line.

use atq_run::orphans::Orphans;
use clap::{Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs distributed load tests on Docker Swarm.
///
/// Without a command it serves the HTTP API until SIGTERM or Ctrl-C. The configuration is read from
/// `controller-config.yaml` (or `.yml`) in the working directory; `config example` prints a complete
/// one. Exit codes: 0 ended by a signal, 1 failed, 2 the configuration or the arguments are wrong.
#[derive(Debug, Parser)]
#[command(name = "atq-director", version)]
pub struct Args {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", env = "ATQ_CONFIG")]
    pub config: Option<PathBuf>,
    /// What becomes of objects in Docker that carry this Director's id, but belong to no task in its
    /// store, because its data directory was lost.
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        env = "ATQ_ADOPT_ORPHANS",
        default_value = "remove"
    )]
    pub adopt_orphans: AdoptOrphans,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at the configuration.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look at the store of tasks, or carry its tasks to another one, while no Director runs.
    ///
    /// The store is in `state` below the `datadir` of the configuration. Exit codes: 0 all is well, 1
    /// failed or something is wrong with a task, 2 the configuration or the arguments are wrong.
    Store {
        /// What to do with it.
        #[command(subcommand)]
        command: StoreCommand,
    },
}

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Write all tasks that can be read, one JSON object a line.
    ///
    /// The definitions hold the values of `environment`, so passwords too: keep the file as you keep
    /// those. What cannot be read is told on standard error and left out; the exit code is then 1. Of a
    /// store that cannot be opened a copy is made and read as far as possible.
    Export {
        /// Where to, a file that does not exist yet; only its owner may read it. Default: standard output.
        file: Option<PathBuf>,
    },
    /// Read tasks that `export` has written into an empty store: all of them, or none.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Say of every task what is wrong with it; exit code 1 if anything is.
    Check,
}

/// What becomes of objects that no stored task knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AdoptOrphans {
    /// Remove those that were made with this host name, data directory and port
    Remove,
    /// Remove the others, too
    RemoveAll,
    /// Only say what there is
    Keep,
}

impl From<AdoptOrphans> for Orphans {
    fn from(adopt: AdoptOrphans) -> Self {
        match adopt {
            AdoptOrphans::Remove => Self::Remove,
            AdoptOrphans::RemoveAll => Self::RemoveAll,
            AdoptOrphans::Keep => Self::Keep,
        }
    }
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with it; exit code 0 when nothing is, else 2.
    Check,
    /// Print a complete one with explanations.
    Example,
}

/// Prints `text`. A reader that has gone (`| head -1`) or a full disk is no reason to panic, as `print!` does.
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
