//! The soak: many short tasks of all kinds, several at once, while the Director is killed again and
//! again at random moments and started on the same data. At the end each task must have ended as it
//! had to, and what can be counted must be as before.

mod board;
mod census;
mod killer;
mod life;
pub mod plan;
mod post;
mod process;
pub mod report;
mod witness;

use crate::client::Client;
use crate::docker::{docker, labelled};
use crate::stage::Stage;
use anyhow::{Context, Result, anyhow, ensure};
use board::Board;
use census::Census;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream;
use killer::Killed;
use plan::{Plan, Want};
use post::Post;
use report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use witness::Witness;

/// More than run at once, so that there always is a queue.
const ROOM: usize = 7;
/// A pool of its own: other Directors on this Swarm choose at the same time.
const CONFIGURATION: &str = "maxConcurrentTasks: 4\nsubnetPool: 10.238.0.0/16\n";
/// The kernel's part of a network goes a moment after Docker's.
const SETTLES: Duration = Duration::from_secs(90);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Marks the Director's objects; of no other test.
    pub id: String,
    /// Decides about everything that is random.
    pub seed: u64,
    /// Number of tasks.
    pub tasks: usize,
    /// Number of kills.
    pub kills: usize,
    /// How long tasks and deletions may take in all.
    pub deadline: Duration,
}

/// A soak on its way.
struct Soak {
    plan: Plan,
    board: Board,
    post: Post,
    witness: Witness,
    room: Semaphore,
    notes: Mutex<Notes>,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Notes {
    outcomes: BTreeMap<String, usize>,
    kills: Vec<Killed>,
    problems: Vec<String>,
}

impl Soak {
    fn problem(&self, text: String) {
        say(self, &format!("WRONG  {text}"));
        self.notes().problems.push(text);
    }

    fn tally(&self, outcome: &str) {
        let mut notes = self.notes();
        *notes.outcomes.entry(outcome.to_owned()).or_insert(0) += 1;
    }

    /// Notes a kill; gives the number of those before it.
    fn killed(&self, kill: Killed) -> usize {
        let mut notes = self.notes();
        notes.kills.push(kill);
        notes.kills.len() - 1
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints a line of progress.
fn say(soak: &Soak, text: &str) {
    println!("{:>7.1} s {text}", soak.begun.elapsed().as_secs_f64());
}

/// Runs a soak.
///
/// # Errors
/// When it cannot be run to its end; the message says what was missing. Tasks that ended wrong and
/// things that are left are in the report.
pub async fn run(options: &Options) -> Result<Report> {
    let mut stage = Stage::open_with(&options.id, CONFIGURATION).await?;
    let dir = stage.director().dir.clone();
    let before = Census::take(&dir, &options.id).await?;
    let open_files = process::open_files(stage.director().pid())?;
    let soak = begin(&stage, options)?;
    let worked = tokio::time::timeout(options.deadline, work(&mut stage, &soak)).await;
    let in_time = worked.unwrap_or_else(|_| Err(late(&soak, options)));
    in_time.with_context(|| {
        let log = process::log(&dir);
        format!("the Director's log ends with\n{}", process::tail(&log))
    })?;
    let tasks = soak.begun.elapsed().as_secs_f64();
    say(&soak, "all tasks are deleted; counting what is left");
    let pid = stage.director().pid();
    let open_files = (
        open_files,
        process::open_files_at_rest(pid, open_files).await?,
    );
    let children = process::children(pid)?;
    let (code, _) = stage.take().terminate()?;
    ensure!(code == Some(0), "the Director's exit code is {code:?}");
    let (after, differences) = settled(&before, &dir, &options.id).await?;
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
        containers: soak.witness.total(),
        problems: notes.problems,
        seconds: (tasks, soak.begun.elapsed().as_secs_f64()),
        log: process::log(&dir),
    };
    report.judge(options.kills);
    Ok(report)
}

fn begin(stage: &Stage, options: &Options) -> Result<Soak> {
    let plan = Plan::draw(options.seed, options.tasks, options.kills);
    Ok(Soak {
        board: Board::new(plan.tasks.iter().map(|task| task.name.as_str())),
        plan,
        post: Post::new(client(stage)?),
        witness: Witness::begin(&options.id)?,
        room: Semaphore::new(ROOM),
        notes: Mutex::default(),
        begun: Instant::now(),
    })
}

fn late(soak: &Soak, options: &Options) -> anyhow::Error {
    let (missing, kills) = (soak.board.missing(), soak.notes().kills.len());
    let deadline = options.deadline;
    anyhow!("not over after {deadline:?}; {kills} kills are done; missing: {missing:#?}")
}

/// All tasks beside all kills; then every task that is still there is deleted.
async fn work(stage: &mut Stage, soak: &Soak) -> Result<()> {
    let lives = try_join_all(soak.plan.tasks.iter().map(|task| life::live(soak, task)));
    tokio::try_join!(lives, killer::kill(stage, soak))?;
    let kept = soak
        .plan
        .tasks
        .iter()
        .filter(|task| task.want() != Want::Gone);
    let deletions = stream::iter(kept).for_each_concurrent(ROOM, |task| async {
        if let Err(error) = life::delete(soak, &task.name).await {
            soak.problem(format!("{}: {error:#}", task.name));
        }
        soak.board.enter(&task.name, plan::Phase::Ended);
    });
    deletions.await;
    Ok(())
}

/// Its connections must not count as open files of the Director.
fn client(stage: &Stage) -> Result<Client> {
    Client::closing(stage.director().client.url.as_str())
}

/// Counts until all is as before, or for a while. A difference is one that was there all that time.
async fn settled(before: &Census, dir: &Path, id: &str) -> Result<(Census, BTreeSet<String>)> {
    let begun = Instant::now();
    let mut lasting: Option<BTreeSet<String>> = None;
    loop {
        let after = Census::take(dir, id).await?;
        let mut now = after.differences(before);
        if let Some(earlier) = &lasting {
            now.retain(|difference| earlier.contains(difference));
        }
        if now.is_empty() || begun.elapsed() > SETTLES {
            return Ok((after, now));
        }
        lasting = Some(now);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Removes what an interrupted soak has left in Docker.
///
/// # Errors
/// When something is still there after a minute or two.
pub async fn undo(id: &str) -> Result<()> {
    let label = format!("com.atq.director={id}");
    let begun = Instant::now();
    loop {
        let left = labelled(&label).await?;
        if left.is_empty() {
            return Ok(());
        }
        let running = left.iter().any(|object| object.starts_with("container "));
        for object in &left {
            let removed = match object.split_once(' ').context("kind and name")? {
                ("service", name) => docker(&["service", "rm", name]).await,
                // Removed too early it leaks addresses.
                ("network", name) if !running => docker(&["network", "rm", name]).await,
                ("volume", name) if !running => docker(&["volume", "rm", name]).await,
                _ => continue,
            };
            // It is looked at again.
            drop(removed);
        }
        ensure!(begun.elapsed() < SETTLES, "still in Docker: {left:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
