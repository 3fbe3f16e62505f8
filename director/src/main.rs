//! `atq-director`: arguments, logging, configuration, signals. No decisions.

use atq_director::args::{Args, Command, ConfigCommand, StoreCommand, print};
use atq_director::config::Config;
use atq_director::{Ports, daemon, logging, permissions, store_cli};
use atq_run::orphans::OrphanPolicy;
use clap::Parser;
use std::path::Path;
use std::process::ExitCode;

/// Returns memory to the system after a peak. `.cargo/config.toml` has its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code for an invalid configuration.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    permissions::keep_new_files_private();
    match args.command {
        Some(Command::Config {
            command: ConfigCommand::Example,
        }) => print(&Config::example()),
        Some(Command::Config {
            command: ConfigCommand::Check,
        }) => check(args.config.as_deref()),
        Some(Command::Store { command }) => store(args.config.as_deref(), &command),
        None => serve(args.config.as_deref(), args.adopt_orphans.into()),
    }
}

fn check(path: Option<&Path>) -> ExitCode {
    match Config::load(path) {
        Ok(_) => print("the configuration is valid\n"),
        Err(error) => report_invalid(&error),
    }
}

fn store(path: Option<&Path>, command: &StoreCommand) -> ExitCode {
    match Config::load(path) {
        Ok(config) => store_cli::run(&config.datadir, command),
        Err(error) => report_invalid(&error),
    }
}

fn serve(path: Option<&Path>, orphans: OrphanPolicy) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return report_invalid(&error),
    };
    logging::init(config.log_format);
    let ports = match Ports::real(&config) {
        Ok(ports) => ports,
        Err(error) => return report_invalid(&error),
    };
    match daemon::until_signal(config, ports, orphans) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report_invalid(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("atq-director: {error:#}");
    ExitCode::from(EXIT_CONFIG)
}
