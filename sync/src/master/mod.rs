//! The master: starts the tools of all workers at one instant, monitors them, ends with the worst exit code.

mod coordinator;
pub mod summary;
mod worker_connection;
pub mod worker_state;

use crate::args::MasterArgs;
use crate::exit::{Code, Failure};
use crate::limits::raise_descriptors;
use crate::output::{line, log_line};
use crate::share::divide;
use crate::signals::Signals;
use coordinator::Coordinator;
use worker_state::WorkerState;

/// Runs the master to its end; returns the exit code.
pub async fn run(args: MasterArgs) -> Code {
    match prepare(&args) {
        Ok((workers, signals)) => finish(Coordinator::new(args, workers, signals)).await,
        Err(failure) => {
            log_line(&failure.message);
            failure.code
        }
    }
}

/// Checks everything that needs no worker.
fn prepare(args: &MasterArgs) -> Result<(Vec<WorkerState>, Signals), Failure> {
    raise_descriptors();
    let usage = |message| Failure::new(Code::USAGE, message);
    let workers = worker_state::workers(&args.workers, args.port).map_err(usage)?;
    let count = u32::try_from(workers.len()).unwrap_or(u32::MAX);
    divide(&args.shares, count).map_err(usage)?;
    Ok((workers, Signals::install()?))
}

async fn finish(mut coordinator: Coordinator) -> Code {
    let failure = coordinator.run().await.err();
    if let Some(failure) = &failure {
        log_line(&failure.message);
        coordinator.stop(&failure.message).await;
    }
    for text in summary::lines(coordinator.workers()) {
        line(&text);
    }
    let code = summary::code(failure.as_ref(), coordinator.workers());
    line(&format!("exit code {}", code.value()));
    coordinator.release().await;
    code
}
