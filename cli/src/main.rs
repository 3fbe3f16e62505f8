//! The program `atq`.

use atq_cli::args::Args;
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => atq_cli::run(args).await.into(),
        // Faults of the command line itself end the program with exit code 2.
        Err(fault) => atq_cli::misunderstood(&fault).into(),
    }
}
