//! Reads one log from its beginning to its end.

use super::position::LogPosition;
use super::watcher::{Container, ContainerStatus, Snapshot};
use super::{Following, Lines};
use crate::interruption::Deadline;
use crate::logs::LogError;
use atq_engine::{EngineError, LogLine, LogQuery, LogStream};
use atq_evidence::Source;
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Pause before reading resumes after an error.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum time for retries of reading the rest of a log.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// A log that is being read.
struct Reader<'a> {
    following: &'a Following,
    source: Source,
    container: Container,
    snapshots: watch::Receiver<Snapshot>,
    lines: &'a Lines,
    position: LogPosition,
}

impl Following {
    /// Sends the lines of a container until it has ended and its log is complete.
    pub(super) async fn read(
        &self,
        source: Source,
        container: Container,
        snapshots: watch::Receiver<Snapshot>,
        lines: &Lines,
    ) -> Result<Source, LogError> {
        let reader = Reader {
            following: self,
            source,
            container,
            snapshots,
            lines,
            position: LogPosition::default(),
        };
        reader.run().await?;
        Ok(source)
    }
}

impl Reader<'_> {
    async fn run(mut self) -> Result<(), LogError> {
        let Some(id) = self.container.id.clone() else {
            return self.send_stored(self.tail()).await.map(drop);
        };
        if let Some(tail) = self.tail() {
            self.send_last(&id, tail).await?;
        }
        while self.status() == ContainerStatus::Running {
            self.follow(&id).await;
            let _ = timeout(RETRY_INTERVAL, self.wait_for_end()).await;
        }
        if self.status() != ContainerStatus::Lost {
            return self.send_rest(&id).await;
        }
        let notice = "... the log ends here: its node was lost ...";
        self.send_notice(notice).await;
        Ok(())
    }

    /// The number of last lines. All lines of a container that appeared later are new.
    fn tail(&self) -> Option<u32> {
        self.following.filter.tail.filter(|_| self.container.is_old)
    }

    fn status(&self) -> ContainerStatus {
        self.snapshots.borrow().status(self.source)
    }

    /// Waits until the container has ended or is lost.
    async fn wait_for_end(&mut self) {
        let source = self.source;
        let has_ended = |snapshot: &Snapshot| snapshot.status(source) != ContainerStatus::Running;
        // An error means that the watcher has ended; then this reader is dropped, too.
        let _ = self.snapshots.wait_for(has_ended).await;
    }

    /// Sends the last `count` lines. If `count` is 0, the last line still marks the position.
    async fn send_last(&mut self, id: &str, count: u32) -> Result<(), LogError> {
        let query = LogQuery::tail(count.max(1));
        loop {
            match self.send_live(id, query, count > 0).await {
                Ok(()) => break,
                // Missed lines are read when the log is followed.
                Err(_) if self.position.since().is_some() => break,
                Err(_) if self.status() != ContainerStatus::Running => {
                    return self.send_stored(Some(count)).await.map(drop);
                }
                Err(error) => self.log_retry(&error),
            }
            let _ = timeout(RETRY_INTERVAL, self.wait_for_end()).await;
        }
        if let Err(error) = self.count_unrequested(id).await {
            self.log_retry(&error);
        }
        Ok(())
    }

    /// Counts unrequested lines with the same time as the first requested one.
    async fn count_unrequested(&mut self, id: &str) -> Result<(), EngineError> {
        let Some(floor) = self.position.floor() else {
            return Ok(());
        };
        let query = LogQuery::since(Some(floor));
        let engine = &self.following.orchestrator.shared.engine;
        let mut log = engine.logs(id, self.container.tty, query).await?;
        self.position.restart();
        while let Some(line) = log.next().await {
            if !self.position.count_same_time(&line?) {
                break;
            }
        }
        Ok(())
    }

    /// Sends lines as they are written, until the container has ended or the stream fails.
    async fn follow(&mut self, id: &str) {
        let query = LogQuery {
            since: self.position.since(),
            follow: true,
            tail: None,
        };
        let mut snapshots = self.snapshots.clone();
        let source = self.source;
        let followed = tokio::select! {
            followed = self.send_live(id, query, true) => followed,
            _ = snapshots.wait_for(|snapshot| snapshot.status(source) != ContainerStatus::Running) => return,
        };
        if let Err(error) = followed {
            self.log_retry(&error);
        }
    }

    /// Sends the remaining lines of a complete log.
    async fn send_rest(&mut self, id: &str) -> Result<(), LogError> {
        let deadline = Deadline::after(RETRY_FOR);
        loop {
            let query = LogQuery::since(self.position.since());
            let Err(error) = self.send_live(id, query, true).await else {
                return Ok(());
            };
            if self.send_stored(None).await? {
                return Ok(());
            }
            self.log_retry(&error);
            if deadline.passed() {
                let notice = format!("... the rest of the log cannot be read: {error} ...");
                self.send_notice(&notice).await;
                return Ok(());
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Sends new lines from the engine.
    async fn send_live(
        &mut self,
        id: &str,
        query: LogQuery,
        is_wanted: bool,
    ) -> Result<(), EngineError> {
        let engine = &self.following.orchestrator.shared.engine;
        let mut log = engine.logs(id, self.container.tty, query).await?;
        self.position.restart();
        while let Some(line) = log.next().await {
            let line = line?;
            if query.tail.is_some() {
                self.position.start_at(&line);
            }
            if self.position.is_new(&line) && is_wanted {
                self.send(line).await;
            }
        }
        Ok(())
    }

    /// Sends new lines from the evidence; `false` if it has no log of this container.
    async fn send_stored(&mut self, tail: Option<u32>) -> Result<bool, LogError> {
        let (orchestrator, view) = (&self.following.orchestrator, &self.following.view);
        let (name, run) = (&view.spec.name, &view.state.run);
        let evidence = &orchestrator.shared.evidence;
        let mut log = match evidence.read_log(name, run, self.source).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            log => log?,
        };
        self.position.restart();
        let mut last = VecDeque::new();
        while let Some(line) = log.next().await? {
            if !self.position.is_new(&line) {
                continue;
            }
            match tail {
                None => self.send(line).await,
                Some(count) => {
                    last.push_back(line);
                    if last.len() as u64 > u64::from(count) {
                        last.pop_front();
                    }
                }
            }
        }
        for line in last {
            self.send(line).await;
        }
        Ok(true)
    }

    /// Sends a line written by the Director.
    async fn send_notice(&self, text: &str) {
        let now = self.following.orchestrator.shared.clock.now();
        self.send(LogLine {
            at: now.to_string(),
            stream: LogStream::Stderr,
            text: text.to_owned(),
        })
        .await;
    }

    async fn send(&self, line: LogLine) {
        // Fails only if the receiver was dropped; then this reader is dropped, too.
        let _ = self.lines.send(Ok((self.source, line))).await;
    }

    fn log_retry(&self, error: &EngineError) {
        let task = &self.following.view.spec.name;
        tracing::debug!(%task, source = %self.source, %error, "reading a log failed; retrying");
    }
}
