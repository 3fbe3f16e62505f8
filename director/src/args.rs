//! The command line.

use clap::{Parser, Subcommand};
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
