//! Logs of the fake's containers.

use super::FakeSwarm;
use super::life::FakeTask;
use super::world::World;
use crate::error::SwarmError;
use crate::port::TaskState;
use atq_engine::{LogLine, LogQuery, LogStream};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};

/// What is written at the start of a process has this time, in nanoseconds since the Unix epoch.
const FIRST: u64 = 1_767_225_600_000_000_001;
/// How soon somebody who follows gets a line.
const LOOK: Duration = Duration::from_millis(10);

type Line = Result<LogLine, SwarmError>;

/// Somebody who follows. While it is there, somebody else has a handle to what it counts in.
struct Follower {
    fake: FakeSwarm,
    task: String,
    tty: bool,
    query: LogQuery,
    told: usize,
    _open: Arc<()>,
}

impl FakeSwarm {
    /// The log as it is now, or as it grows.
    pub(super) async fn log(
        &self,
        task_id: &str,
        tty: bool,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Line>, SwarmError> {
        let read = |world: &mut World, now| {
            let lines = log(world, now, task_id, tty, query)?;
            let mut own = world.tasks.iter().filter(|task| task.id == task_id);
            Ok((lines, own.any(|task| task.service.script.log_hangs)))
        };
        let (lines, hangs) = self.call("task_logs", task_id, read).await?;
        let broken = lines.iter().any(Result::is_err);
        let told = lines.len();
        let lines = stream::iter(lines);
        Ok(match (hangs, query.follow && !broken) {
            (true, _) => lines.chain(stream::pending()).boxed(),
            (false, false) => lines.boxed(),
            (false, true) => lines.chain(self.follow(task_id, tty, query, told)).boxed(),
        })
    }

    /// How many logs are being followed.
    pub fn followed_logs(&self) -> usize {
        Arc::strong_count(&self.lock().following) - 1
    }

    /// What is written later. As with Docker, it never ends, but when the node is lost.
    fn follow(
        &self,
        task_id: &str,
        tty: bool,
        query: LogQuery,
        told: usize,
    ) -> BoxStream<'static, Line> {
        let follower = Follower {
            fake: self.clone(),
            task: task_id.to_owned(),
            tty,
            query: LogQuery {
                tail: None,
                ..query
            },
            told: told + self.skipped(task_id, tty, query, told),
            _open: Arc::clone(&self.lock().following),
        };
        stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            loop {
                if let Some(line) = follower.look() {
                    let goes_on = line.is_ok().then_some(follower);
                    return Some((line, goes_on));
                }
                sleep(LOOK).await;
            }
        })
        .boxed()
    }

    /// How many lines came before those that `tail` let through.
    fn skipped(&self, task_id: &str, tty: bool, query: LogQuery, told: usize) -> usize {
        let (world, now) = self.now();
        let all = LogQuery {
            tail: None,
            ..query
        };
        let lines = log(&world, now, task_id, tty, all).unwrap_or_default();
        lines.len().saturating_sub(told)
    }
}

impl Follower {
    /// A line that was not told yet. What a process writes when it is told to end, Docker's own
    /// followers often miss: it comes to nobody here.
    fn look(&mut self) -> Option<Line> {
        let (world, now) = self.fake.now();
        let task = world.listed(now).find(|task| task.id == self.task)?;
        if task.ended_when_told(now) {
            return None;
        }
        let lines = log(&world, now, &self.task, self.tty, self.query).ok()?;
        if let Some(error) = lines.iter().find(|line| line.is_err()) {
            return Some(error.clone());
        }
        let line = lines.into_iter().nth(self.told)?;
        self.told += 1;
        Some(line)
    }
}

/// Logs can be read as long as the Swarm task is listed. Those of a lost node end with an error.
fn log(
    world: &World,
    now: Instant,
    task_id: &str,
    tty: bool,
    query: LogQuery,
) -> Result<Vec<Line>, SwarmError> {
    let what = format!("the log of Swarm task `{task_id}`");
    let task = world.listed(now).find(|t| t.id == task_id);
    let Some(task) = task else {
        return Err(SwarmError::NotFound { what });
    };
    let lost = task.lost.map(|_| {
        let node = task.node.clone().unwrap_or_default();
        format!("Error grabbing logs: incomplete log stream. node {node} is not available")
    });
    let error = lost
        .clone()
        .or_else(|| task.service.script.log_error.clone());
    let mut all = match lost {
        Some(_) => Vec::new(),
        None => written(task, now),
    };
    let since = query.since.unwrap_or_default();
    all.retain(|(at, ..)| *at >= since);
    let skip = query
        .tail
        .map_or(0, |n| all.len().saturating_sub(n as usize));
    let lines = all.into_iter().skip(skip).map(|(at, stream, text)| {
        Ok(LogLine {
            at: in_words(at),
            // A terminal has one stream.
            stream: if tty { LogStream::Stdout } else { stream },
            text,
        })
    });
    let error = error.map(|reason| Err(SwarmError::Internal { what, reason }));
    Ok(lines.chain(error).collect())
}

/// What a container has written by now.
fn written(task: &FakeTask, now: Instant) -> Vec<(u64, LogStream, String)> {
    if !task.has_container(now) || task.state(now) == TaskState::Starting {
        return Vec::new();
    }
    if let Some(words) = task.last_words(now) {
        return vec![(FIRST, LogStream::Stdout, words)];
    }
    let script = &task.service.script;
    let ran = task.ran(now);
    let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX - FIRST);
    let first = script.lines.iter();
    let first = first.map(|(stream, text)| (FIRST, *stream, text.clone()));
    let later = script.later.iter().filter(|(after, _)| *after <= ran);
    let later = later.map(|(after, text)| (FIRST + nanos(*after), LogStream::Stdout, text.clone()));
    let told = task.ended_when_told(now);
    let last = script.last_lines.iter().filter(|_| told);
    let last = last.map(|text| (FIRST + nanos(ran), LogStream::Stdout, text.clone()));
    first.chain(later).chain(last).collect()
}

fn in_words(nanos: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(nanos.into())
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}
