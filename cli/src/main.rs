//! The program `atq`.

use atq_cli::args::Args;
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => atq_cli::run(args).await.into(),
        // Errors of the command line itself exit with code 2.
        Err(fault) => atq_cli::report_usage_error(&fault).into(),
    }
}
