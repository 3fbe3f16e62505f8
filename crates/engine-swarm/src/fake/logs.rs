//! Logs of the fake's containers.

use super::FakeSwarm;
use super::cluster::Cluster;
use super::task_lifecycle::FakeTask;
use crate::error::SwarmError;
use crate::port::TaskState;
use atq_engine::{LogLine, LogQuery, LogStream};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};

/// The time of output at the start of a process, in nanoseconds since the Unix epoch.
const START_TIME: u64 = 1_767_225_600_000_000_001;
/// Poll interval of followed logs.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

type Line = Result<LogLine, SwarmError>;

/// A follower of a log. The number of followers is the number of handles to `_open`.
struct Follower {
    fake: FakeSwarm,
    task: String,
    tty: bool,
    query: LogQuery,
    returned: usize,
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
        let read = |cluster: &mut Cluster, now| {
            let lines = log(cluster, now, task_id, tty, query)?;
            let mut own = cluster.tasks.iter().filter(|task| task.id == task_id);
            Ok((lines, own.any(|task| task.service.script.log_hangs)))
        };
        let (lines, hangs) = self.call("task_logs", task_id, read).await?;
        let broken = lines.iter().any(Result::is_err);
        let returned = lines.len();
        let lines = stream::iter(lines);
        Ok(match (hangs, query.follow && !broken) {
            (true, _) => lines.chain(stream::pending()).boxed(),
            (false, false) => lines.boxed(),
            (false, true) => lines
                .chain(self.follow(task_id, tty, query, returned))
                .boxed(),
        })
    }

    /// The number of followed logs.
    pub fn followed_logs(&self) -> usize {
        Arc::strong_count(&self.lock().following) - 1
    }

    /// The lines that are written from now on. As with Docker, the stream never ends, except when the node is lost.
    fn follow(
        &self,
        task_id: &str,
        tty: bool,
        query: LogQuery,
        returned: usize,
    ) -> BoxStream<'static, Line> {
        let follower = Follower {
            fake: self.clone(),
            task: task_id.to_owned(),
            tty,
            query: LogQuery {
                tail: None,
                ..query
            },
            returned: returned + self.skipped(task_id, tty, query, returned),
            _open: Arc::clone(&self.lock().following),
        };
        stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            loop {
                if let Some(line) = follower.next_line() {
                    let goes_on = line.is_ok().then_some(follower);
                    return Some((line, goes_on));
                }
                sleep(POLL_INTERVAL).await;
            }
        })
        .boxed()
    }

    /// The number of lines before those that `tail` selected.
    fn skipped(&self, task_id: &str, tty: bool, query: LogQuery, returned: usize) -> usize {
        let (cluster, now) = self.now();
        let all = LogQuery {
            tail: None,
            ..query
        };
        let lines = log(&cluster, now, task_id, tty, all).unwrap_or_default();
        lines.len().saturating_sub(returned)
    }
}

impl Follower {
    /// The next line that was not returned yet. Docker's followers often miss output after SIGTERM, so that it is
    /// never returned here.
    fn next_line(&mut self) -> Option<Line> {
        let (cluster, now) = self.fake.now();
        let task = cluster.listed(now).find(|task| task.id == self.task)?;
        if task.ended_on_sigterm(now) {
            return None;
        }
        let lines = log(&cluster, now, &self.task, self.tty, self.query).ok()?;
        if let Some(error) = lines.iter().find(|line| line.is_err()) {
            return Some(error.clone());
        }
        let line = lines.into_iter().nth(self.returned)?;
        self.returned += 1;
        Some(line)
    }
}

/// Logs can be read while the Swarm task is listed. Those of a lost node end with an error.
fn log(
    cluster: &Cluster,
    now: Instant,
    task_id: &str,
    tty: bool,
    query: LogQuery,
) -> Result<Vec<Line>, SwarmError> {
    let what = format!("the log of Swarm task `{task_id}`");
    let task = cluster.listed(now).find(|t| t.id == task_id);
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
            at: rfc3339(at),
            // A terminal has one stream.
            stream: if tty { LogStream::Stdout } else { stream },
            text,
        })
    });
    let error = error.map(|reason| Err(SwarmError::Internal { what, reason }));
    Ok(lines.chain(error).collect())
}

/// The output of a container up to now.
fn written(task: &FakeTask, now: Instant) -> Vec<(u64, LogStream, String)> {
    if !task.has_container(now) || task.state(now) == TaskState::Starting {
        return Vec::new();
    }
    if let Some(report) = task.carrier_report(now) {
        return vec![(START_TIME, LogStream::Stdout, report)];
    }
    let script = &task.service.script;
    let ran = task.ran(now);
    let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX - START_TIME);
    let first = script.lines.iter();
    let first = first.map(|(stream, text)| (START_TIME, *stream, text.clone()));
    let later = script.later.iter().filter(|(after, _)| *after <= ran);
    let later =
        later.map(|(after, text)| (START_TIME + nanos(*after), LogStream::Stdout, text.clone()));
    let returned = task.ended_on_sigterm(now);
    let last = script.last_lines.iter().filter(|_| returned);
    let last = last.map(|text| (START_TIME + nanos(ran), LogStream::Stdout, text.clone()));
    first.chain(later).chain(last).collect()
}

fn rfc3339(nanos: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(nanos.into())
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}
