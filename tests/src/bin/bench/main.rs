//! `make bench`: the Director against the floor, which is the same work done by bare calls of Docker's
//! API, both in one run and in turns. It prints ratios beside the bars and asserts nothing about time.
//!
//! Exit codes: 0 all was measured, whatever the figures; 1 something could not be measured; 130
//! interrupted. Nothing is left in Docker on any of these ends.

mod daemon;
mod engine;
mod floor;
mod orchestration;
mod ping;
mod place;
mod push;
mod replies;
mod report;
mod table;
mod upload;

use crate::engine::{DIRECTOR_LABEL, Engine, FLOOR_LABEL};
use crate::table::{Row, say};
use anyhow::{Context, Result};
use atq_tests::director::binary;
use clap::{Parser, ValueEnum};
use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Measures the Director beside the floor that Docker sets.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Args {
    /// Measure only these, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<What>,
    /// Fewer rounds and smaller sizes: a check of the benchmark, not figures to quote.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Also 100 and 200 workers (some minutes more).
    #[arg(long)]
    full: bool,
    /// Be the hello-world server that `ping` is compared with.
    #[arg(long, hide = true, value_name = "PORT")]
    hello_server: Option<u16>,
    /// Be the process that reads results, for `report`: a file, or so many bytes from nowhere.
    #[arg(long, hide = true, value_name = "FILE|BYTES")]
    read_results: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Sizes of binaries and images.
    Sizes,
    /// Memory at rest, and the time to the first answer.
    Daemon,
    /// Pings a second.
    Ping,
    /// Speed and memory of an upload.
    Upload,
    /// A bundle brought to three nodes.
    Push,
    /// Reply to PUT with nothing else to do.
    Replies,
    /// Replies to PUT and to reads while 20 tasks are created, and the time until all run.
    Twenty,
    /// PUT to the running master, and the master's end to the outcome.
    Orchestration,
    /// Speed and memory of reading results, beside JMeter's own generator.
    Report,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(port) = args.hello_server {
        return match ping::serve_hello(port).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    if let Some(from) = args.read_results {
        return match report::read(&from) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    let ended = tokio::select! {
        ended = bench(&args) => ended.map(Some),
        interrupted = interrupted() => interrupted.map(|()| None),
    };
    match ended {
        Ok(Some(0)) => ExitCode::SUCCESS,
        Ok(Some(_)) => ExitCode::FAILURE,
        Ok(None) => undo().await,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("bench: {error:#}");
    ExitCode::FAILURE
}

async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// After an interruption. The Director was killed as its measurement was dropped.
async fn undo() -> ExitCode {
    println!("\ninterrupted; removing what is in Docker (again: gives up)");
    let swept = async {
        let engine = Engine::local()?;
        sweep(&engine).await?;
        // A call that was under way may take effect after the first look.
        tokio::time::sleep(Duration::from_secs(2)).await;
        sweep(&engine).await
    };
    let undone = tokio::select! {
        swept = swept => swept,
        _ = interrupted() => Err(anyhow::anyhow!("given up; the next run removes the rest")),
    };
    match undone {
        Ok(()) => println!("removed"),
        Err(error) => eprintln!("bench: {error:#}"),
    }
    ExitCode::from(130)
}

/// Removes what a measurement, or an earlier run, has left.
async fn sweep(engine: &Engine) -> Result<()> {
    engine.sweep(DIRECTOR_LABEL).await?;
    engine.sweep(FLOOR_LABEL).await
}

/// Measures and prints; gives the number of measurements that failed.
async fn bench(args: &Args) -> Result<usize> {
    let director = binary()?;
    let lock = File::create(director.with_file_name("bench.lock"))?;
    lock.try_lock()
        .context("another benchmark runs; two would remove each other's containers")?;
    let engine = Engine::local()?;
    sweep(&engine)
        .await
        .context("is there a Swarm? `deploy/setup.sh all` sets one up")?;
    let machine = table::machine().await;
    say(&machine);
    say(format!("measures {}", director.display()));
    let (mut rows, mut failed) = (Vec::new(), 0);
    for what in What::value_variants() {
        if !args.only.is_empty() && !args.only.contains(what) {
            continue;
        }
        say(format!("--- {what:?}"));
        match measure(&engine, *what, args).await {
            Ok(measured) => rows.extend(measured),
            Err(error) => {
                failed += 1;
                rows.push(
                    Row::plain(format!("{what:?}"), format!("NOT MEASURED: {error:#}")).said(),
                );
            }
        }
        sweep(&engine).await?;
    }
    let profile = if cfg!(debug_assertions) {
        " WITHOUT OPTIMISATION: not figures to quote."
    } else {
        ""
    };
    println!("\n{}\n{machine}.{profile}", table::render(&rows));
    Ok(failed)
}

async fn measure(engine: &Engine, what: What, args: &Args) -> Result<Vec<Row>> {
    let quick = args.quick;
    let pick = |normal, small| if quick { small } else { normal };
    match what {
        What::Sizes => daemon::sizes().await,
        What::Daemon => daemon::measure(engine, pick(1000, 100), pick(20, 5)).await,
        What::Ping => {
            ping::measure(pick(2, 1), Duration::from_secs(if quick { 2 } else { 5 })).await
        }
        What::Upload => upload::measure(if quick { 100 } else { 1000 }, pick(3, 1)).await,
        What::Push => push::measure(if quick { 50 } else { 200 }, pick(3, 1)).await,
        What::Replies => replies::idle(engine, pick(200, 50)).await,
        What::Twenty => replies::busy(engine, pick(100, 20)).await,
        What::Report => {
            let (samples, megabytes) = if quick {
                (1_000_000, 500)
            } else {
                (5_000_000, 5000)
            };
            report::measure(samples, megabytes).await
        }
        What::Orchestration => orchestration::measure(engine, &plan(args)).await,
    }
}

/// Numbers of workers, and rounds of each.
fn plan(args: &Args) -> orchestration::Plan {
    match (args.quick, args.full) {
        (true, _) => vec![(1, 1), (3, 1)],
        (false, false) => vec![(1, 5), (3, 5), (10, 3), (30, 2)],
        (false, true) => vec![(1, 5), (3, 5), (10, 3), (30, 2), (100, 1), (200, 1)],
    }
}
