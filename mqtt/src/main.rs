//! The program: arguments, signals and exit codes.

use atq_mqtt::args::{Cli, Command, Plan, Run};
use atq_mqtt::run::{RunError, print_line, run};
use atq_mqtt::signals::Signals;
use atq_mqtt::{plan, system};
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => start(&args).await,
        Command::Plan(args) => show_plan(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("atq-mqtt: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn start(args: &Run) -> Result<(), RunError> {
    let mut signals = Signals::catch().map_err(|error| RunError::System(error.to_string()))?;
    run(args, &mut signals).await
}

fn show_plan(args: &Plan) -> Result<(), RunError> {
    let here = system::capacity().map_err(RunError::System)?;
    let plan = plan::plan(args.request(here))
        .map_err(|error| RunError::Usage(format!("--descriptors: {error}")))?;
    print_line(&plan.to_string());
    Ok(())
}
