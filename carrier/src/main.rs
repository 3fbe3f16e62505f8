//! The carrier's program: arguments, signals, exit codes. What it does is in the library.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::thread;

use atq_carrier::args::Args;
use atq_carrier::problem::Problem;
use atq_carrier::words::{Done, Teller};
use atq_node_protocol::order::Work;
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    let args = Args::parse();
    let teller = Arc::new(Teller::new(args.work, &args.node));
    let outcome = end_at_signals(args.work, Arc::clone(&teller)).and_then(|()| work(&args));
    teller.tell(&outcome);
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A bug is a problem like any other: the Director must read of it.
fn work(args: &Args) -> Result<Done, Problem> {
    catch_unwind(AssertUnwindSafe(|| atq_carrier::run(args))).unwrap_or_else(|_| {
        Err(Problem::lasting(
            "the carrier panicked; its log on stderr says where",
        ))
    })
}

/// The first process of a container has no default for signals, so SIGTERM would be ignored. It ends this one wherever it
/// is: what is not finished has no marker.
fn end_at_signals(work: Work, teller: Arc<Teller>) -> Result<(), Problem> {
    let cannot = |e: std::io::Error| Problem::lasting(format!("cannot listen for signals: {e}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(cannot)?;
    let wait = move || {
        let Some(signal) = signals.forever().next() else {
            return;
        };
        if work == Work::Watch {
            teller.tell(&Ok(Done::default()));
            exit(0);
        }
        let name = if signal == SIGTERM {
            "SIGTERM"
        } else {
            "SIGINT"
        };
        teller.tell(&Err(Problem::lasting(format!("ended by {name}"))));
        exit(128 + signal);
    };
    thread::Builder::new()
        .spawn(wait)
        .map(|_| ())
        .map_err(cannot)
}
