//! `make soak`: 100 short tasks of all kinds while the Director is killed 20 times. Each must end as expected, and
//! nothing may be left.
//!
//! Exit codes: 0 passed, 1 unexpected outcome or leftovers, 130 interrupted. An interrupted run removes its objects from
//! Docker.

use anyhow::{Context, Result};
use atq_tests::director::binary;
use atq_tests::soak::{self, Options};
use clap::Parser;
use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const ID: &str = "soak";

/// Runs many tasks while the Director is killed repeatedly, and checks for leftovers.
#[derive(Debug, Parser)]
#[command(name = "soak", version)]
struct Args {
    /// Seed of an earlier run to repeat its choices; random by default
    #[arg(long)]
    seed: Option<u64>,
    /// Number of tasks
    #[arg(long, default_value_t = 100)]
    tasks: usize,
    /// Number of kills
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// Deadline in seconds; 60 plus 15 for each task and kill by default
    #[arg(long)]
    deadline: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = tokio::select! {
        ended = soak(&args) => ended.map(Some),
        interrupted = interrupted() => interrupted.map(|()| None),
    };
    let code = match ended {
        Ok(Some(true)) => return ExitCode::SUCCESS,
        Ok(Some(false)) => 1,
        Ok(None) => 130,
        Err(error) => {
            eprintln!("soak: {error:#}");
            1
        }
    };
    println!("removing the objects of the soak from Docker");
    if let Err(error) = soak::clean_up(ID).await {
        eprintln!("soak: {error:#}");
    }
    ExitCode::from(code)
}

/// Returns whether the soak passed.
async fn soak(args: &Args) -> Result<bool> {
    let built = binary()?;
    let lock = File::create(built.with_file_name("soak.lock"))?;
    lock.try_lock()
        .context("another soak is running; two would count each other's containers")?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let seconds = 60 + 15 * (args.tasks + args.kills) as u64;
    let options = Options {
        id: ID.to_owned(),
        seed,
        tasks: args.tasks,
        kills: args.kills,
        deadline: Duration::from_secs(args.deadline.unwrap_or(seconds)),
    };
    let (tasks, kills) = (args.tasks, args.kills);
    println!("{tasks} tasks, {kills} kills; to repeat the choices: --seed {seed}");
    soak::clean_up(ID)
        .await
        .context("is a Swarm active? `deploy/setup.sh all` creates one")?;
    let report = soak::run(&options).await?;
    println!("{report}");
    let log = built.with_file_name("soak-director.log");
    std::fs::write(&log, &report.log)?;
    println!("the Director's log: {}", log.display());
    let verdict = if report.is_clean() {
        "passed"
    } else {
        "FAILED"
    };
    println!("soak {verdict}");
    Ok(report.is_clean())
}

async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
