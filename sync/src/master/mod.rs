//! The master: starts the tools of all workers at one instant, follows them, ends with the worst exit code.

mod driver;
mod round;
pub mod seat;
pub mod summary;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::MasterArgs;
use crate::exit::{Code, Failure};
use crate::output::{line, problem};
use crate::share::divide;
use crate::signals::Signals;
use round::Round;
use seat::Seat;

/// Runs the master to its end; returns the exit code.
pub async fn run(args: MasterArgs) -> Code {
    match prepare(&args) {
        Ok((seats, signals)) => finish(Round::new(args, seats, signals)).await,
        Err(failure) => {
            problem(&failure.message);
            failure.code
        }
    }
}

/// Checks everything that needs no worker.
fn prepare(args: &MasterArgs) -> Result<(Vec<Seat>, Signals), Failure> {
    raise_descriptors();
    let usage = |message| Failure::new(Code::USAGE, message);
    let seats = seat::seats(&args.workers, args.port).map_err(usage)?;
    let count = u32::try_from(seats.len()).unwrap_or(u32::MAX);
    divide(&args.shares, count).map_err(usage)?;
    Ok((seats, Signals::install()?))
}

/// Raises the soft limit of file descriptors to the hard one: each worker takes one. Without it, connections may fail and say why.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

async fn finish(mut round: Round) -> Code {
    let failure = round.play().await.err();
    if let Some(failure) = &failure {
        problem(&failure.message);
        round.stop(&failure.message).await;
    }
    for text in summary::lines(round.seats()) {
        line(&text);
    }
    let code = summary::code(failure.as_ref(), round.seats());
    line(&format!("exit code {}", code.value()));
    round.release().await;
    code
}
