//! The program `atq`.

use atq_cli::args::Args;
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // Faults of the command line itself end the program here, with exit code 2.
    let args = Args::parse();
    atq_cli::run(args).await.into()
}
