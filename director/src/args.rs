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
    /// Create, list or revoke the tokens of clients.
    ///
    /// Uses the running Director through `control.sock` below the `datadir` of the configuration, else the store there.
    /// Only the user of the Director (and, while it runs, root) can do this: the first token of an admin is created
    /// here. Exit codes: 0 success, 1 failed, 2 invalid configuration or arguments.
    Token {
        /// Command for tokens.
        #[command(subcommand)]
        command: TokenCommand,
    },
}

/// Commands for tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create a token, and print it alone on standard output. It cannot be shown again.
    Create {
        /// Name of the owner, for tasks and the audit log: letters, digits and `._-@+`.
        #[arg(long)]
        name: String,
        /// Role: viewers read; runners also upload bundles, start, stop and delete tasks; admins also manage tokens and
        /// read the join tokens of the Swarm.
        #[arg(long, value_enum)]
        role: TokenRoleArg,
        /// Lifetime, for example `12h` or `1y`, or `never`.
        #[arg(long, value_name = "TIME", value_parser = lifetime, default_value = "90d")]
        expires: u64,
    },
    /// List the tokens without their secrets, oldest first.
    ///
    /// Expired and revoked tokens are listed for 30 days.
    List {
        /// Print JSON, as GET /token.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token at once.
    Revoke {
        /// Id of the token: the part after `atq_`.
        id: String,
    },
}

/// Role of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum TokenRoleArg {
    Viewer,
    Runner,
    Admin,
}

/// Seconds of a lifetime with units, or 0.
fn lifetime(text: &str) -> Result<u64, String> {
    if ["0", "never"].contains(&text) {
        return Ok(0);
    }
    match humantime::parse_duration(text) {
        Ok(time) if time.as_secs() > 0 => Ok(time.as_secs()),
        _ => Err("expected a time with a unit, for example `90d` or `12h`, or `never`".to_owned()),
    }
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
    use super::{Args, lifetime};
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_lifetime_has_a_unit_or_is_zero() {
        assert_eq!(lifetime("0"), Ok(0));
        assert_eq!(lifetime("90d"), Ok(90 * 86_400));
        for wrong in ["", "90", "0s", "-1d", "100ms"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
