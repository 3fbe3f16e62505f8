//! The endpoint for carriers: authorization, and routing of uploads. In memory only: after a restart
//! the run begins anew.

use crate::admission::{Admissions, Refusal};
use atq_engine::{Gauge, Role, Source, Stop, Taker, Tar};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// Characters of a carrier's reason that are kept.
const SHOWN: usize = 300;
/// Seconds that a sample covers when it is not known: the watchers' own pace.
const PACE: f64 = 2.0;

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

/// How busy a node is, as its watcher measured it.
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

/// A run whose load is watched.
#[derive(Clone)]
pub(crate) struct Watched {
    /// Processors that a container may use: a worker, and a master.
    pub limits: [Option<f64>; 2],
    /// Takes the samples.
    pub gauge: Arc<dyn Gauge>,
}

/// Runs that wait for something from their carriers, by suffix.
#[derive(Default)]
pub(crate) struct Arrivals {
    takers: Mutex<HashMap<String, Arc<dyn Taker>>>,
    watched: Mutex<HashMap<String, Watched>>,
}

impl Arrivals {
    /// The run waits for results until the guard is dropped.
    pub(crate) fn wait(self: &Arc<Self>, run: &str, taker: Arc<dyn Taker>) -> Waiting {
        lock(&self.takers).insert(run.to_owned(), taker);
        Waiting {
            arrivals: Arc::clone(self),
            run: run.to_owned(),
        }
    }

    /// The run is watched.
    pub(crate) fn watch(&self, run: &str, watched: Watched) {
        lock(&self.watched).insert(run.to_owned(), watched);
    }

    /// The run is not watched any more.
    pub(crate) fn unwatch(&self, run: &str) {
        lock(&self.watched).remove(run);
    }
}

/// Takes results of a run until it is dropped.
pub(crate) struct Waiting {
    arrivals: Arc<Arrivals>,
    run: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.arrivals.takers).remove(&self.run);
    }
}

/// The endpoint for carriers. Cheap to clone.
#[derive(Clone)]
pub struct Inbound {
    pub(crate) admissions: Arc<Admissions>,
    pub(crate) arrivals: Arc<Arrivals>,
}

impl Inbound {
    /// Whether a carrier on `node` may fetch `bundle` now.
    ///
    /// # Errors
    /// Why not.
    pub fn may_fetch(
        &self,
        run: &str,
        token: &str,
        node: &str,
        bundle: &str,
    ) -> Result<(), Refusal> {
        self.admissions.may_fetch(run, token, node, bundle)
    }

    /// The node has got the bundle to its end.
    pub fn served(&self, run: &str, node: &str, bundle: &str) {
        self.admissions.served(run, node, bundle);
    }

    /// Keeps the results of a container on another node.
    ///
    /// # Errors
    /// [`Refused`] when they are not waited for, or are not all kept.
    pub async fn take_results(
        &self,
        run: &str,
        token: &str,
        source: &str,
        tar: Tar,
    ) -> Result<(), Refused> {
        let (taker, expected) = self.expected(run, token, source)?;
        match taker.take(expected, tar).await.map_err(Refused::Unkept)? {
            None => Ok(()),
            Some(Stop::TooLarge(reason)) => Err(Refused::TooLarge(reason)),
            Some(Stop::Disk(reason)) => Err(Refused::Unkept(reason)),
            Some(Stop::Broken(reason)) => Err(Refused::Broken(reason)),
        }
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
        let (taker, expected) = self.expected(run, token, source)?;
        taker.note(expected, problem.chars().take(SHOWN).collect());
        Ok(())
    }

    /// The look of a run for results, if it waits for those of `source`.
    fn expected(
        &self,
        run: &str,
        token: &str,
        source: &str,
    ) -> Result<(Arc<dyn Taker>, Source), Refused> {
        if !self.admissions.knows(run, token) {
            return Err(Refused::Stranger);
        }
        let closed = || Refused::Closed(source.to_owned());
        let taker = lock(&self.arrivals.takers).get(run).cloned();
        let taker = taker.ok_or_else(closed)?;
        let expected = Source::parse(source).filter(|source| taker.expects(*source));
        Ok((taker, expected.ok_or_else(closed)?))
    }

    /// Writes down how busy a node and the run's containers on it are.
    ///
    /// # Errors
    /// [`Refused`] when the run is not watched.
    pub fn take_load(&self, run: &str, token: &str, sample: &NodeSample) -> Result<(), Refused> {
        let known = self.admissions.knows(run, token);
        let watched = lock(&self.arrivals.watched).get(run).cloned();
        let watched = watched.filter(|_| known).ok_or(Refused::Stranger)?;
        let all = f64::from(sample.processors);
        let gauge = watched.gauge;
        gauge.node(&sample.node, sample.percent, PACE);
        for (source, percent) in &sample.containers {
            let [worker, master] = watched.limits;
            let limit = match source.role {
                Role::Worker => worker,
                _ => master,
            };
            let may = limit.map_or(all, |limit| limit.min(all));
            gauge.container(*source, &sample.node, percent / 100.0, may, PACE);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
