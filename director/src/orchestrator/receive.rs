//! What the API does with what carriers send.

use super::Orchestrator;
use super::arrivals::with_book;
use super::intake::Intake;
use super::shared::Shared;
use crate::evidence::Source;
use crate::evidence::results::Stop;
use crate::plan::Role;
use futures_util::Stream;
use std::io;
use std::sync::Arc;
use thiserror::Error;
use tokio_util::bytes::Bytes;

/// Why something that a carrier sent is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// There is no such run, or the secret is another.
    #[error("this is for carriers of a run that is under way; the run or the token is unknown")]
    Stranger,
    /// Not of this container, or not any more.
    #[error("the results of `{0}` are not waited for")]
    Closed(String),
    /// The limits of the run were reached; what had room is kept.
    #[error("{0}")]
    TooLarge(String),
    /// The Director cannot keep it.
    #[error("{0}")]
    Unkept(String),
    /// It ended early; what came is kept.
    #[error("{0}")]
    Broken(String),
}

/// Seconds that a sample covers when it is not known: the watchers' own pace.
const PACE: f64 = 2.0;

/// How busy a node is, as its watcher says.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSample {
    /// Docker's id of the node.
    pub node: String,
    /// Its processors.
    pub processors: u32,
    /// Percent of all of them.
    pub percent: f64,
    /// Containers, with percent of one processor.
    pub containers: Vec<(Source, f64)>,
}

impl Orchestrator {
    /// Keeps the results of a container on another node.
    ///
    /// # Errors
    /// [`Refused`] when they are not waited for, or are not all kept.
    pub async fn take_results<S>(
        &self,
        run: &str,
        token: &str,
        source: &str,
        tar: S,
    ) -> Result<(), Refused>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    {
        let shared: &Shared = &self.shared;
        let task = shared.carriers.task_of(run, token);
        let task = task.ok_or(Refused::Stranger)?;
        let (intake, expected) = self.expected(run, source)?;
        let evidence = &shared.evidence;
        let tar = intake.bounded(tar);
        let kept = evidence.keep_results(&task, run, expected, tar, intake.budget());
        match kept.await.map_err(Refused::Unkept)?.1 {
            None => Ok(()),
            Some(Stop::TooLarge(reason)) => Err(Refused::TooLarge(reason)),
            Some(Stop::Disk(reason)) => Err(Refused::Unkept(reason)),
            Some(Stop::Broken(reason)) => Err(Refused::Broken(reason)),
        }
    }

    /// The look of a run for results, if it waits for those of `source`.
    fn expected(&self, run: &str, source: &str) -> Result<(Arc<Intake>, Source), Refused> {
        let closed = || Refused::Closed(source.to_owned());
        let intake = self.shared.arrivals.intake(run).ok_or_else(closed)?;
        let expected = Source::parse(source).filter(|source| intake.expects(*source));
        Ok((intake, expected.ok_or_else(closed)?))
    }

    /// Notes why the results of a container cannot be sent.
    ///
    /// # Errors
    /// [`Refused`] when they are not waited for.
    pub fn note_results(
        &self,
        run: &str,
        token: &str,
        source: &str,
        problem: &str,
    ) -> Result<(), Refused> {
        let task = self.shared.carriers.task_of(run, token);
        task.ok_or(Refused::Stranger)?;
        let (intake, expected) = self.expected(run, source)?;
        intake.note(expected, problem.to_owned());
        Ok(())
    }

    /// Writes down how busy a node and the run's containers on it are.
    ///
    /// # Errors
    /// [`Refused`] when the run is not watched.
    pub fn take_load(&self, run: &str, token: &str, sample: &NodeSample) -> Result<(), Refused> {
        let task = self.shared.carriers.task_of(run, token);
        let watched = task.and_then(|_| self.shared.arrivals.book(run));
        let watched = watched.ok_or(Refused::Stranger)?;
        let all = f64::from(sample.processors);
        with_book(&watched.book, |book| {
            book.node(&sample.node, sample.percent, PACE);
            for (source, percent) in &sample.containers {
                let [worker, master] = watched.limits;
                let limit = match source.role {
                    Role::Worker => worker,
                    _ => master,
                };
                let may = limit.map_or(all, |limit| limit.min(all));
                book.container(*source, &sample.node, percent / 100.0, may, PACE);
            }
        });
        Ok(())
    }
}
