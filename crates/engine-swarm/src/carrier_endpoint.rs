//! The endpoint for carriers: authorization, and routing of uploads. State is kept in memory only: after a restart
//! the run registers again.

use crate::node_auth::NodeAuth;
use atq_engine::{ResultsReceiver, Role, Source, Stop, Tar, UsageSink};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// Longest stored reason of a carrier, in characters.
const MAX_REASON: usize = 300;
/// Seconds that a sample covers: the watchers' sample interval.
const SAMPLE_SECONDS: f64 = 2.0;

/// The reason why a request of a carrier is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The run is unknown, or the token is wrong.
    #[error("reserved for carriers of active runs: unknown run or wrong token")]
    Unauthorized,
    /// No results are expected from this container, or no longer.
    #[error("results of `{0}` are not expected")]
    NotExpected(String),
    /// The limits of the run were reached. Data received before is kept.
    #[error("{0}")]
    TooLarge(String),
    /// The Director cannot store the data.
    #[error("{0}")]
    NotStored(String),
    /// The upload ended early. Data received before is kept.
    #[error("{0}")]
    Truncated(String),
}

/// CPU usage of a node, as measured by its watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSample {
    /// Docker's id of the node.
    pub node: String,
    /// Number of CPUs.
    pub processors: u32,
    /// Usage of all CPUs together, in percent.
    pub percent: f64,
    /// Usage of the containers, in percent of one CPU.
    pub containers: Vec<(Source, f64)>,
}

/// A run whose CPU usage is watched.
#[derive(Clone)]
pub(crate) struct WatchedRun {
    /// CPU limits of a worker and of a master.
    pub limits: [Option<f64>; 2],
    /// Receives the samples.
    pub sink: Arc<dyn UsageSink>,
}

/// Runs that expect data from their carriers, by suffix.
#[derive(Default)]
pub(crate) struct IngestRegistry {
    receivers: Mutex<HashMap<String, Arc<dyn ResultsReceiver>>>,
    watched: Mutex<HashMap<String, WatchedRun>>,
}

impl IngestRegistry {
    /// Registers a run that expects results, until the guard is dropped.
    pub(crate) fn expect_results(
        self: &Arc<Self>,
        run: &str,
        receiver: Arc<dyn ResultsReceiver>,
    ) -> IngestGuard {
        self.receivers.lock().insert(run.to_owned(), receiver);
        IngestGuard {
            registry: Arc::clone(self),
            run: run.to_owned(),
        }
    }

    /// Registers a run whose CPU usage is watched.
    pub(crate) fn watch(&self, run: &str, watched: WatchedRun) {
        self.watched.lock().insert(run.to_owned(), watched);
    }

    /// Removes the registration of [`IngestRegistry::watch`].
    pub(crate) fn unwatch(&self, run: &str) {
        self.watched.lock().remove(run);
    }
}

/// Keeps a run registered for results until it is dropped.
pub(crate) struct IngestGuard {
    registry: Arc<IngestRegistry>,
    run: String,
}

impl Drop for IngestGuard {
    fn drop(&mut self) {
        self.registry.receivers.lock().remove(&self.run);
    }
}

/// The endpoint for carriers. Cheap to clone.
#[derive(Clone)]
pub struct CarrierEndpoint {
    pub(crate) node_auth: Arc<NodeAuth>,
    pub(crate) ingest: Arc<IngestRegistry>,
}

impl CarrierEndpoint {
    /// Stores the results of a container on another node.
    ///
    /// # Errors
    /// [`RequestError`] when the results are not expected or cannot be stored completely.
    pub async fn receive_results(
        &self,
        run: &str,
        token: &str,
        source: &str,
        tar: Tar,
    ) -> Result<(), RequestError> {
        let (receiver, expected) = self.expected(run, token, source)?;
        let taken = receiver.take(expected, tar).await;
        match taken.map_err(RequestError::NotStored)? {
            None => Ok(()),
            Some(Stop::TooLarge(reason)) => Err(RequestError::TooLarge(reason)),
            Some(Stop::Disk(reason)) => Err(RequestError::NotStored(reason)),
            Some(Stop::Broken(reason)) => Err(RequestError::Truncated(reason)),
        }
    }

    /// Records why the results of a container cannot be sent.
    ///
    /// # Errors
    /// [`RequestError`] when the results are not expected.
    pub fn record_missing_results(
        &self,
        run: &str,
        token: &str,
        source: &str,
        problem: &str,
    ) -> Result<(), RequestError> {
        let (receiver, expected) = self.expected(run, token, source)?;
        receiver.note(expected, problem.chars().take(MAX_REASON).collect());
        Ok(())
    }

    /// The receiver of a run's results, if it expects those of `source`.
    fn expected(
        &self,
        run: &str,
        token: &str,
        source: &str,
    ) -> Result<(Arc<dyn ResultsReceiver>, Source), RequestError> {
        if !self.node_auth.is_authorized(run, token) {
            return Err(RequestError::Unauthorized);
        }
        let closed = || RequestError::NotExpected(source.to_owned());
        let receiver = self.ingest.receivers.lock().get(run).cloned();
        let receiver = receiver.ok_or_else(closed)?;
        let expected = Source::parse(source).filter(|source| receiver.expects(*source));
        Ok((receiver, expected.ok_or_else(closed)?))
    }

    /// Records the CPU usage of a node and of the run's containers on it.
    ///
    /// # Errors
    /// [`RequestError`] when the run is not watched.
    pub fn record_usage(
        &self,
        run: &str,
        token: &str,
        sample: &NodeSample,
    ) -> Result<(), RequestError> {
        let authorized = self.node_auth.is_authorized(run, token);
        let watched = self.ingest.watched.lock().get(run).cloned();
        let watched = watched.filter(|_| authorized);
        let watched = watched.ok_or(RequestError::Unauthorized)?;
        let all = f64::from(sample.processors);
        let sink = watched.sink;
        sink.node(&sample.node, sample.percent, SAMPLE_SECONDS);
        for (source, percent) in &sample.containers {
            let [worker, master] = watched.limits;
            let limit = match source.role {
                Role::Worker => worker,
                _ => master,
            };
            let may = limit.map_or(all, |limit| limit.min(all));
            sink.container(*source, &sample.node, percent / 100.0, may, SAMPLE_SECONDS);
        }
        Ok(())
    }
}
