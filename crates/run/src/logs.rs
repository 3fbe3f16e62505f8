//! Log lines of a task: from the engine while it runs, from the evidence afterwards.

use super::{Orchestrator, View};
use atq_engine::{EngineError, LogLine, LogQuery, Member, Role};
use atq_evidence::{KeptLog, Source};
use atq_store::StoreError;
use atq_task::state::Step;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::VecDeque;
use std::io;
use thiserror::Error;

/// Selects log lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogFilter {
    /// Only of this service.
    pub role: Option<Role>,
    /// Only of this replica.
    pub replica: Option<u32>,
    /// Number of last lines of each container.
    pub tail: Option<u32>,
}

impl LogFilter {
    pub(super) fn wants(&self, source: Source) -> bool {
        self.role.is_none_or(|role| role == source.role)
            && self.replica.is_none_or(|replica| replica == source.replica)
    }
}

/// Errors of reading logs.
#[derive(Debug, Error)]
pub enum LogError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The evidence cannot be read.
    #[error("the stored logs cannot be read: {0}")]
    Evidence(#[from] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process shuts down.
    #[error("the Director is shutting down")]
    Closing,
}

/// A line with the container that wrote it.
pub type SourcedLine = (Source, LogLine);

/// The source of a container's log lines.
enum Origin {
    Kept(Source),
    Live(Box<Member>),
}

impl Origin {
    fn source(&self) -> Source {
        match self {
            Self::Kept(source) => *source,
            Self::Live(member) => member.source,
        }
    }
}

impl Orchestrator {
    /// The lines of a task, container by container: workers, attempts of the wait command, master.
    ///
    /// # Errors
    /// When the engine or the evidence cannot be read; later errors end the stream.
    pub async fn logs(
        &self,
        view: &View,
        filter: LogFilter,
    ) -> Result<BoxStream<'static, Result<SourcedLine, LogError>>, LogError> {
        let mut origins = self.origins(view).await?;
        origins.retain(|origin| filter.wants(origin.source()));
        origins.sort_by_key(Origin::source);
        let (this, view) = (self.clone(), view.clone());
        let lines = stream::iter(origins).then(move |origin| {
            let (this, view) = (this.clone(), view.clone());
            async move { this.open(&view, origin, filter.tail).await }
        });
        Ok(lines.try_flatten().boxed())
    }

    async fn origins(&self, view: &View) -> Result<Vec<Origin>, LogError> {
        let (name, run) = (&view.spec.name, &view.state.run);
        let kept = self.shared.evidence.logs(name, run).await?;
        let mut origins: Vec<Origin> = kept.iter().copied().map(Origin::Kept).collect();
        if view.state.step < Step::Cleanup && view.state.worker.is_some() {
            let mut live = self.shared.engine.logged(view.facts()).await?;
            live.retain(|member| !kept.contains(&member.source));
            origins.extend(live.into_iter().map(Box::new).map(Origin::Live));
        }
        Ok(origins)
    }

    async fn open(
        &self,
        view: &View,
        origin: Origin,
        tail: Option<u32>,
    ) -> Result<BoxStream<'static, Result<SourcedLine, LogError>>, LogError> {
        let source = origin.source();
        let lines = match origin {
            Origin::Kept(_) => {
                let (name, run) = (&view.spec.name, &view.state.run);
                let log = self.shared.evidence.read_log(name, run, source).await?;
                match tail {
                    None => kept_lines(log),
                    Some(count) => stream::iter(last_lines(log, count).await?).map(Ok).boxed(),
                }
            }
            Origin::Live(member) => {
                let query = LogQuery {
                    tail,
                    ..LogQuery::default()
                };
                let engine = &self.shared.engine;
                let lines = engine.logs(&member.id, member.tty, query).await?;
                lines.map_err(LogError::from).boxed()
            }
        };
        Ok(lines.map_ok(move |line| (source, line)).boxed())
    }
}

fn kept_lines(log: KeptLog) -> BoxStream<'static, Result<LogLine, LogError>> {
    stream::try_unfold(log, |mut log| async move {
        Ok(log.next().await?.map(|line| (line, log)))
    })
    .boxed()
}

async fn last_lines(mut log: KeptLog, count: u32) -> Result<VecDeque<LogLine>, LogError> {
    let mut last = VecDeque::new();
    while let Some(line) = log.next().await? {
        last.push_back(line);
        if last.len() as u64 > u64::from(count) {
            last.pop_front();
        }
    }
    Ok(last)
}
