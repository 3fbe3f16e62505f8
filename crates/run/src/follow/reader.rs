//! One log, from its beginning to its end.

use super::place::Place;
use super::watcher::{Container, Fate, Seen};
use super::{Following, Lines};
use crate::logs::LogError;
use crate::wait::Deadline;
use atq_engine::{EngineError, LogLine, LogQuery, LogStream};
use atq_evidence::Source;
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Pause before a log that broke off is taken up again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the rest of a log is asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A log that is being read.
struct Reader<'a> {
    following: &'a Following,
    source: Source,
    container: Container,
    seen: watch::Receiver<Seen>,
    lines: &'a Lines,
    place: Place,
}

impl Following {
    /// Sends the lines of a container until it has ended and all is said.
    pub(super) async fn read(
        &self,
        source: Source,
        container: Container,
        seen: watch::Receiver<Seen>,
        lines: &Lines,
    ) -> Result<Source, LogError> {
        let reader = Reader {
            following: self,
            source,
            container,
            seen,
            lines,
            place: Place::default(),
        };
        reader.run().await?;
        Ok(source)
    }
}

impl Reader<'_> {
    async fn run(mut self) -> Result<(), LogError> {
        let Some(task) = self.container.task.clone() else {
            return self.kept(self.tail()).await.map(drop);
        };
        if let Some(tail) = self.tail() {
            self.begin_with_the_last(&task, tail).await?;
        }
        while self.fate() == Fate::Runs {
            self.follow(&task).await;
            let _ = timeout(PAUSE, self.is_over()).await;
        }
        match self.fate() {
            Fate::Lost => {
                self.say("... the log ends here: its node was lost ...")
                    .await
            }
            _ => self.rest(&task).await?,
        }
        Ok(())
    }

    /// Of a container that came later, everything is new.
    fn tail(&self) -> Option<u32> {
        self.following.filter.tail.filter(|_| self.container.is_old)
    }

    fn fate(&self) -> Fate {
        self.seen.borrow().fate(self.source)
    }

    /// Waits until the container will write nothing more.
    async fn is_over(&mut self) {
        let source = self.source;
        let over = |seen: &Seen| seen.fate(source) != Fate::Runs;
        // An error means that nobody looks any more, and then nobody reads either.
        let _ = self.seen.wait_for(over).await;
    }

    /// The last `count` lines. Also without any, the last one says where the log goes on.
    async fn begin_with_the_last(&mut self, task: &str, count: u32) -> Result<(), LogError> {
        let query = LogQuery {
            tail: Some(count.max(1)),
            ..LogQuery::default()
        };
        loop {
            match self.live(task, query, count > 0).await {
                Ok(()) => break,
                // What was missed comes with what follows.
                Err(_) if self.place.since().is_some() => break,
                Err(_) if self.fate() != Fate::Runs => {
                    return self.kept(Some(count)).await.map(drop);
                }
                Err(error) => self.complain(&error),
            }
            let _ = timeout(PAUSE, self.is_over()).await;
        }
        if let Err(error) = self.find_the_place(task).await {
            self.complain(&error);
        }
        Ok(())
    }

    /// The last lines may have begun among several of one time.
    async fn find_the_place(&mut self, task: &str) -> Result<(), EngineError> {
        let Some(floor) = self.place.floor() else {
            return Ok(());
        };
        let query = LogQuery {
            since: Some(floor),
            ..LogQuery::default()
        };
        let engine = &self.following.it.shared.engine;
        let mut log = engine.logs(task, self.container.tty, query).await?;
        self.place.begin_again();
        while let Some(line) = log.next().await {
            if !self.place.also_at(&line?) {
                break;
            }
        }
        Ok(())
    }

    /// Lines as they are written, until the container has ended or the engine breaks off.
    async fn follow(&mut self, task: &str) {
        let query = LogQuery {
            since: self.place.since(),
            follow: true,
            tail: None,
        };
        let mut seen = self.seen.clone();
        let source = self.source;
        let followed = tokio::select! {
            followed = self.live(task, query, true) => followed,
            _ = seen.wait_for(|seen| seen.fate(source) != Fate::Runs) => return,
        };
        if let Err(error) = followed {
            self.complain(&error);
        }
    }

    /// What was not seen yet of a log that is complete.
    async fn rest(&mut self, task: &str) -> Result<(), LogError> {
        let deadline = Deadline::after(PATIENCE);
        loop {
            let query = LogQuery {
                since: self.place.since(),
                ..LogQuery::default()
            };
            let Err(error) = self.live(task, query, true).await else {
                return Ok(());
            };
            if self.kept(None).await? {
                return Ok(());
            }
            self.complain(&error);
            if deadline.passed() {
                self.say(&format!(
                    "... the rest of the log cannot be read: {error} ..."
                ))
                .await;
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    /// Sends what the engine has, but for what was sent before.
    async fn live(
        &mut self,
        task: &str,
        query: LogQuery,
        is_wanted: bool,
    ) -> Result<(), EngineError> {
        let engine = &self.following.it.shared.engine;
        let mut log = engine.logs(task, self.container.tty, query).await?;
        self.place.begin_again();
        while let Some(line) = log.next().await {
            let line = line?;
            if query.tail.is_some() {
                self.place.begin_at(&line);
            }
            if self.place.passes(&line) && is_wanted {
                self.send(line).await;
            }
        }
        Ok(())
    }

    /// Sends what the evidence has, but for what was sent before; `false` when it has nothing of this
    /// container.
    async fn kept(&mut self, tail: Option<u32>) -> Result<bool, LogError> {
        let (it, view) = (&self.following.it, &self.following.view);
        let (name, run) = (&view.spec.name, &view.state.run);
        let mut log = match it.shared.evidence.read_log(name, run, self.source).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            log => log?,
        };
        self.place.begin_again();
        let mut last = VecDeque::new();
        while let Some(line) = log.next().await? {
            if !self.place.passes(&line) {
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

    /// A line of the Director's own.
    async fn say(&self, text: &str) {
        let now = self.following.it.shared.clock.now();
        self.send(LogLine {
            at: now.to_string(),
            stream: LogStream::Stderr,
            text: text.to_owned(),
        })
        .await;
    }

    async fn send(&self, line: LogLine) {
        // Nobody takes it only when nobody is there, and then this is dropped.
        let _ = self.lines.send(Ok((self.source, line))).await;
    }

    fn complain(&self, error: &EngineError) {
        let task = &self.following.view.spec.name;
        tracing::debug!(%task, source = %self.source, %error, "a log broke off; taking it up again");
    }
}
