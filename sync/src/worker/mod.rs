//! The worker: waits for a master, starts its tool on request, ends with its exit code.

mod listener;
mod plan;
mod session;
mod tool;

use std::time::Duration;

use tokio::time::Instant;

use crate::args::WorkerArgs;
use crate::clock::Clock;
use crate::exit::{Code, Failure};
use crate::output::log_line;
use crate::signals::{Signals, at};
use listener::WorkerListener;
use plan::Plan;
use session::{Session, SessionEnd};

/// What all sessions of a worker share.
#[derive(Debug)]
struct Worker {
    plan: Plan,
    clock: Clock,
    stop_grace: Duration,
    lost_after: Duration,
}

/// Runs a worker to its end; returns the exit code.
pub async fn run(args: WorkerArgs) -> Code {
    serve(args).await.unwrap_or_else(|failure| {
        log_line(&failure.message);
        failure.code
    })
}

async fn serve(args: WorkerArgs) -> Result<Code, Failure> {
    let worker = Worker {
        plan: Plan::new(&args.tool)?,
        clock: Clock::start(),

        stop_grace: args.stop_grace,
        lost_after: args.lost_after,
    };
    let mut signals = Signals::install()?;
    let mut listener = WorkerListener::open(args.port, args.subnet, args.replica).await?;
    let deadline = Instant::now().checked_add(args.start_timeout);
    loop {
        let master = tokio::select! {
            master = listener.next() => master,
            code = signals.next() => return Ok(code),
            () = at(deadline) => return Err(no_master(args.start_timeout)),
        };
        match Session::new(&worker, master)
            .run(&mut signals, deadline)
            .await
        {
            SessionEnd::Ended(code) => return Ok(code),
            SessionEnd::MasterLost(why) => log_line(&format!("{why}; waiting for another master")),
        }
    }
}

fn no_master(timeout: Duration) -> Failure {
    let time = humantime::format_duration(timeout);
    Failure::new(
        Code::CONNECT_TIMEOUT,
        format!("no master started the tool within {time} (--start-timeout)"),
    )
}
