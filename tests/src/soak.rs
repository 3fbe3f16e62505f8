//! Soak test: runs many short tasks of all kinds concurrently while the Director is repeatedly killed at random moments
//! and restarted on the same data. At the end, each task must have the expected outcome, and no object, file or process
//! may be left over.

mod container_starts;
mod inventory;
mod kills;
pub mod plan;
mod process;
mod progress;
pub mod report;
mod retrying_client;
mod scenario;

use crate::client::Client;
use crate::docker::{docker, labelled};
use crate::fixture::Fixture;
use anyhow::{Context, Result, anyhow, ensure};
use container_starts::ContainerStarts;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream;
use inventory::Inventory;
use kills::KillRecord;
use plan::{ExpectedEnd, Plan};
use progress::Progress;
use report::Report;
use retrying_client::RetryingClient;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// More than `maxConcurrentTasks`, so that the queue is never empty.
const CONCURRENT_TASKS: usize = 7;
/// With its own subnet pool, because other Directors on this Swarm choose subnets at the same time.
const CONFIGURATION: &str = "maxConcurrentTasks: 4\nsubnetPool: 10.238.0.0/16\n";
/// The kernel removes a network's interfaces later than Docker removes the network.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Parameters of a soak test.
#[derive(Debug, Clone)]
pub struct Options {
    /// Id of the Director, which labels its objects; unique among the tests.
    pub id: String,
    /// Seed of all random choices.
    pub seed: u64,
    /// Number of tasks.
    pub tasks: usize,
    /// Number of kills.
    pub kills: usize,
    /// Deadline of all tasks and deletions together.
    pub deadline: Duration,
}

/// A running soak test.
struct Soak {
    plan: Plan,
    progress: Progress,
    client: RetryingClient,
    starts: ContainerStarts,
    permits: Semaphore,
    notes: Mutex<Notes>,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Notes {
    outcomes: BTreeMap<String, usize>,
    kills: Vec<KillRecord>,
    problems: Vec<String>,
}

impl Soak {
    fn problem(&self, text: String) {
        print(self, &format!("WRONG  {text}"));
        self.notes().problems.push(text);
    }

    fn tally(&self, outcome: &str) {
        let mut notes = self.notes();
        *notes.outcomes.entry(outcome.to_owned()).or_insert(0) += 1;
    }

    /// Records a kill and returns the number of earlier kills.
    fn record_kill(&self, kill: KillRecord) -> usize {
        let mut notes = self.notes();
        notes.kills.push(kill);
        notes.kills.len() - 1
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints a progress line.
fn print(soak: &Soak, text: &str) {
    println!("{:>7.1} s {text}", soak.begun.elapsed().as_secs_f64());
}

/// Runs a soak test.
///
/// # Errors
/// When it cannot be completed; the message names the unfinished tasks. The report has the tasks with an unexpected
/// outcome and the leftovers.
pub async fn run(options: &Options) -> Result<Report> {
    let mut fixture = Fixture::start_with(&options.id, CONFIGURATION).await?;
    let dir = fixture.director().dir.clone();
    let before = Inventory::take(&dir, &options.id).await?;
    let open_files = process::open_files(fixture.director().pid())?;
    let soak = begin(&fixture, options)?;
    let result = tokio::time::timeout(options.deadline, work(&mut fixture, &soak)).await;
    let result = result.unwrap_or_else(|_| Err(deadline_exceeded(&soak, options)));
    result.with_context(|| {
        let log = process::log(&dir);
        format!("the Director's log ends with\n{}", process::tail(&log))
    })?;
    let tasks = soak.begun.elapsed().as_secs_f64();
    print(&soak, "all tasks are deleted; taking an inventory");
    let pid = fixture.director().pid();
    let open_files = (
        open_files,
        process::settled_open_files(pid, open_files).await?,
    );
    let children = process::children(pid)?;
    let (code, _) = fixture.take().terminate()?;
    ensure!(code == Some(0), "the Director's exit code is {code:?}");
    let (after, differences) = await_settled(&before, &dir, &options.id).await?;
    let notes = std::mem::take(&mut *soak.notes());
    let mut report = Report {
        seed: options.seed,
        before,
        after,
        differences,
        open_files,
        children,
        outcomes: notes.outcomes,
        kills: notes.kills,
        containers: soak.starts.total(),
        problems: notes.problems,
        seconds: (tasks, soak.begun.elapsed().as_secs_f64()),
        log: process::log(&dir),
    };
    report.check(options.kills);
    Ok(report)
}

fn begin(fixture: &Fixture, options: &Options) -> Result<Soak> {
    let plan = Plan::generate(options.seed, options.tasks, options.kills);
    Ok(Soak {
        progress: Progress::new(plan.tasks.iter().map(|task| task.name.as_str())),
        plan,
        client: RetryingClient::new(client(fixture)?),
        starts: ContainerStarts::begin(&options.id)?,
        permits: Semaphore::new(CONCURRENT_TASKS),
        notes: Mutex::default(),
        begun: Instant::now(),
    })
}

fn deadline_exceeded(soak: &Soak, options: &Options) -> anyhow::Error {
    let (unfinished, kills) = (soak.progress.unfinished(), soak.notes().kills.len());
    let deadline = options.deadline;
    anyhow!(
        "deadline of {deadline:?} exceeded after {kills} kills; unfinished tasks: {unfinished:#?}"
    )
}

/// Runs all tasks and all kills concurrently, then deletes every remaining task.
async fn work(fixture: &mut Fixture, soak: &Soak) -> Result<()> {
    let tasks = try_join_all(soak.plan.tasks.iter().map(|task| scenario::run(soak, task)));
    tokio::try_join!(tasks, kills::run(fixture, soak))?;
    let remaining = soak
        .plan
        .tasks
        .iter()
        .filter(|task| task.expected_end() != ExpectedEnd::Gone);
    let deletions = stream::iter(remaining).for_each_concurrent(CONCURRENT_TASKS, |task| async {
        if let Err(error) = scenario::delete(soak, &task.name).await {
            soak.problem(format!("{}: {error:#}", task.name));
        }
        soak.progress.enter(&task.name, plan::Phase::Ended);
    });
    deletions.await;
    Ok(())
}

/// A client without kept-alive connections, which would count as open files of the Director.
fn client(fixture: &Fixture) -> Result<Client> {
    Client::closing(fixture.director().client.url.as_str())
}

/// Takes inventories until there is no difference or the timeout expires. Only differences that persist are returned.
async fn await_settled(
    before: &Inventory,
    dir: &Path,
    id: &str,
) -> Result<(Inventory, BTreeSet<String>)> {
    let begun = Instant::now();
    let mut persistent: Option<BTreeSet<String>> = None;
    loop {
        let after = Inventory::take(dir, id).await?;
        let mut differences = after.differences(before);
        if let Some(earlier) = &persistent {
            differences.retain(|difference| earlier.contains(difference));
        }
        if differences.is_empty() || begun.elapsed() > SETTLE_TIMEOUT {
            return Ok((after, differences));
        }
        persistent = Some(differences);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Removes the objects of an interrupted soak test from Docker.
///
/// # Errors
/// When some remain after the timeout.
pub async fn clean_up(id: &str) -> Result<()> {
    let label = format!("com.atq.director={id}");
    let begun = Instant::now();
    loop {
        let remaining = labelled(&label).await?;
        if remaining.is_empty() {
            return Ok(());
        }
        let running = remaining
            .iter()
            .any(|object| object.starts_with("container "));
        for object in &remaining {
            let removed = match object.split_once(' ').context("kind and name")? {
                ("service", name) => docker(&["service", "rm", name]).await,
                // Removing a network too early leaks addresses.
                ("network", name) if !running => docker(&["network", "rm", name]).await,
                ("volume", name) if !running => docker(&["volume", "rm", name]).await,
                _ => continue,
            };
            // After an error, the next iteration retries.
            drop(removed);
        }
        ensure!(
            begun.elapsed() < SETTLE_TIMEOUT,
            "still in Docker: {remaining:?}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
