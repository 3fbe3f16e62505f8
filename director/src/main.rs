//! `atq-director`: the entry point: arguments, configuration and logging.

use atq_director::args::{Args, Command, ConfigCommand, print};
use atq_director::config::Config;
use atq_director::{Ports, daemon, logging, permissions, store_cli, token_cli};
use atq_run::orphans::OrphanPolicy;
use clap::Parser;
use std::process::ExitCode;

/// Returns memory to the system after a peak. `.cargo/config.toml` has its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code for an invalid configuration.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    permissions::keep_new_files_private();
    if let Some(Command::Config {
        command: ConfigCommand::Example,
    }) = args.command
    {
        return print(&Config::example());
    }
    let config = match Config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return report_invalid(&error),
    };
    match args.command {
        Some(Command::Config { .. }) => {
            for warning in config.warnings() {
                eprintln!("warning: {warning}");
            }
            print("the configuration is valid\n")
        }
        Some(Command::Store { command }) => store_cli::run(&config.datadir, &command),
        Some(Command::Token { command }) => token_cli::run(&config.datadir, command),
        None => serve(config, args.adopt_orphans.into()),
    }
}

fn serve(config: Config, orphans: OrphanPolicy) -> ExitCode {
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
