//! The carrier program: arguments, signals and exit codes. The work itself is in the library.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::thread;

use atq_carrier::args::Args;
use atq_carrier::problem::Problem;
use atq_carrier::report::Reporter;
use atq_node_protocol::order::Work;
use atq_node_protocol::outcome::CarrierOutcome;
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    let args = Args::parse();
    let reporter = Arc::new(Reporter::new(args.work, &args.node));
    let outcome = handle_signals(args.work, Arc::clone(&reporter)).and_then(|()| work(&args));
    reporter.report(&outcome);
    if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Turns a panic into a problem, so that the Director gets a report of it.
fn work(args: &Args) -> Result<CarrierOutcome, Problem> {
    catch_unwind(AssertUnwindSafe(|| atq_carrier::run(args))).unwrap_or_else(|_| {
        Err(Problem::permanent(
            "the carrier panicked; see its log on stderr",
        ))
    })
}

/// Ends the process at SIGTERM or SIGINT. The first process of a container has no default signal handlers, so it would ignore
/// them. Ending at any point is safe: an incomplete volume has no marker.
fn handle_signals(work: Work, reporter: Arc<Reporter>) -> Result<(), Problem> {
    let cannot =
        |e: std::io::Error| Problem::permanent(format!("cannot install signal handlers: {e}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(cannot)?;
    let wait = move || {
        let Some(signal) = signals.forever().next() else {
            return;
        };
        if matches!(work, Work::Watch | Work::Tail) {
            reporter.report(&Ok(CarrierOutcome::default()));
            exit(0);
        }
        let name = if signal == SIGTERM {
            "SIGTERM"
        } else {
            "SIGINT"
        };
        reporter.report(&Err(Problem::permanent(format!("ended by {name}"))));
        exit(128 + signal);
    };
    thread::Builder::new()
        .spawn(wait)
        .map(|_| ())
        .map_err(cannot)
}
