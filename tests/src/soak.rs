//! The soak: many short tasks of all kinds, several at once, while the Director is killed again and
//! again at random moments and started on the same data. At the end each task must have ended as it
//! had to, and what can be counted must be as before.

mod board;
mod census;
mod killer;
mod life;
pub mod plan;
mod post;
pub mod report;
mod witness;

use crate::client::Client;
use crate::docker::{docker, labelled};
use crate::stage::Stage;
use anyhow::{Context, Result, bail, ensure};
use board::Board;
use census::Census;
use futures_util::future::{join_all, try_join_all};
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
/// So many more open files are no leak: connections to Docker that are kept for the next call.
const OPEN_FILES: usize = 16;

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
    let open_files = process(stage.director().pid(), "fd")?;
    let plan = Plan::draw(options.seed, options.tasks, options.kills);
    let soak = Soak {
        board: Board::new(plan.tasks.iter().map(|task| task.name.as_str())),
        plan,
        post: Post::new(client(&stage)?),
        witness: Witness::begin(&options.id)?,
        room: Semaphore::new(ROOM),
        notes: Mutex::default(),
        begun: Instant::now(),
    };
    let worked = tokio::time::timeout(options.deadline, work(&mut stage, &soak)).await;
    let Ok(worked) = worked else {
        let (missing, log) = (soak.board.missing(), stage_log(&dir));
        bail!(
            "not over after {:?}; {} kills done; missing: {missing:#?}\nthe Director's log:\n{log}",
            options.deadline,
            soak.notes().kills.len()
        );
    };
    worked?;
    let tasks = soak.begun.elapsed().as_secs_f64();
    say(&soak, "all tasks are deleted; counting what is left");
    let open_files = (open_files, until_few_files(&stage, open_files).await?);
    let children = process(stage.director().pid(), "children")?;
    let (code, _) = stage.take().terminate()?;
    ensure!(code == Some(0), "the Director's exit code is {code:?}");
    let (after, differences) = settled(&before, &dir, &options.id).await?;
    let notes = std::mem::take(&mut *soak.notes());
    let mut problems = notes.problems;
    problems.extend(complaints(&dir));
    if open_files.1 > open_files.0 + OPEN_FILES || children > 0 {
        problems.push(format!("open files {open_files:?}, children {children}"));
    }
    if notes.kills.len() != options.kills {
        problems.push(format!("{} kills were done", notes.kills.len()));
    }
    Ok(Report {
        seed: options.seed,
        before,
        after,
        differences,
        open_files,
        children,
        outcomes: notes.outcomes,
        kills: notes.kills,
        containers: soak.witness.total(),
        problems,
        seconds: (tasks, soak.begun.elapsed().as_secs_f64()),
    })
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
    join_all(kept.map(|task| async {
        if let Err(error) = life::delete(soak, &task.name).await {
            soak.problem(format!("{}: {error:#}", task.name));
        }
        soak.board.enter(&task.name, plan::Phase::Ended);
    }))
    .await;
    Ok(())
}

/// Its connections must not count as open files of the Director.
fn client(stage: &Stage) -> Result<Client> {
    Client::closing(stage.director().client.url.as_str())
}

/// Number of open files (`fd`) or children of a process.
fn process(pid: u32, what: &str) -> Result<usize> {
    let root = format!("/proc/{pid}");
    if what == "fd" {
        return Ok(std::fs::read_dir(format!("{root}/fd"))?.count());
    }
    let mut count = 0;
    for thread in std::fs::read_dir(format!("{root}/task"))? {
        // A thread may end meanwhile.
        let children = std::fs::read_to_string(thread?.path().join("children"));
        count += children.unwrap_or_default().split_whitespace().count();
    }
    Ok(count)
}

/// Open files of the Director once its connections are closed, or after a while.
async fn until_few_files(stage: &Stage, before: usize) -> Result<usize> {
    let begun = Instant::now();
    loop {
        let now = process(stage.director().pid(), "fd")?;
        if now <= before || begun.elapsed() > Duration::from_secs(10) {
            return Ok(now);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
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

fn stage_log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("director.log")).unwrap_or_default()
}

/// Lines of the Director's log that must not be there.
fn complaints(dir: &Path) -> Vec<String> {
    stage_log(dir)
        .lines()
        .filter(|line| line.contains(" ERROR ") || line.contains("panicked"))
        .map(|line| format!("the Director's log: {line}"))
        .collect()
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
