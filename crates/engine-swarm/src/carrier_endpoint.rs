//! The endpoint for carriers: authorization, and routing of uploads. State is kept in memory only: after a restart
//! the run registers again.

pub(crate) use self::tail::{FollowedRun, TailTurn};
use crate::node_auth::NodeAuth;
use crate::plan::Errand;
use atq_engine::{
    ContainerSample, CpuInterval, ResourceUsage, ResultsReceiver, Role, Source, Stop, Tar, Target,
    Targets, UsageSink,
};
use atq_task::spec::shorten;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use thiserror::Error;

mod tail;

/// Longest stored reason of a carrier, in characters.
const MAX_REASON: usize = 300;
/// Seconds that a sample covers: the watchers' sample interval.
const SAMPLE_SECONDS: f64 = 2.0;
/// More CPUs of a node are not plausible.
const MAX_PROCESSORS: u32 = 1 << 16;

/// The reason why a request of a carrier is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The run is unknown, or the token is not that of the errand.
    #[error(
        "reserved for carriers of active runs: unknown run, or the token is not for this request"
    )]
    Unauthorized,
    /// According to Swarm, the container is not on the node of the carrier.
    #[error("`{container}` of this run is not on the node `{node}`")]
    NotOnNode {
        /// The container.
        container: String,
        /// The node.
        node: String,
    },
    /// No results are expected from this container, or no longer.
    #[error("results of `{0}` are not expected")]
    NotExpected(String),
    /// The resource usage of the run is not sampled, or not any more.
    #[error("the CPU usage of this run is not expected")]
    NotWatched,
    /// The result files of the run are not followed, or not any more.
    #[error("the result files of this run are not followed")]
    NotFollowed,
    /// The carrier has sent another request of this kind meanwhile.
    #[error("a later request of the node `{0}` has replaced this one")]
    Replaced(String),
    /// The body cannot be read.
    #[error("the body is invalid: {0}")]
    Invalid(String),
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

/// CPU usage of a node, and resource usage of containers, as measured by its watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSample {
    /// Docker's id of the node.
    pub node: String,
    /// Number of CPUs.
    pub processors: u32,
    /// Usage of all CPUs together, in percent.
    pub percent: f64,
    /// Usage of the containers.
    pub containers: Vec<ContainerReport>,
}

/// Resource usage of a container, as reported by a watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerReport {
    /// Its name in the run, for example `worker.3`.
    pub source: String,
    /// Docker's id.
    pub id: String,
    /// CPU usage in percent of one CPU.
    pub percent: f64,
    /// Memory, network and block I/O.
    pub usage: ResourceUsage,
}

/// A run whose resource usage is watched.
pub(crate) struct WatchedRun {
    /// Receives the samples.
    sink: Arc<dyn UsageSink>,
    /// The containers that run now.
    targets: Targets,
    /// Every container that has run, by its id: a sample may arrive after its end.
    seen: Mutex<HashMap<String, Target>>,
}

impl WatchedRun {
    /// A run with these containers.
    pub(crate) fn new(sink: Arc<dyn UsageSink>, targets: Targets) -> Self {
        Self {
            sink,
            targets,
            seen: Mutex::default(),
        }
    }

    /// The containers of a sample. Refuses the sample unless all of them are on its node. A container is reported once at
    /// most. One of a command may be reported before the Director has seen it, and is skipped then.
    fn check<'a>(
        &self,
        sample: &'a NodeSample,
    ) -> Result<Vec<(Target, &'a ContainerReport)>, RequestError> {
        let mut seen = self.seen.lock();
        let running = self.targets.lock();
        seen.extend(
            running
                .iter()
                .map(|one| (one.container.clone(), one.clone())),
        );
        drop(running);
        let refused = |container: &str| RequestError::NotOnNode {
            container: shorten(container),
            node: sample.node.clone(),
        };
        if !seen.values().any(|target| target.node == sample.node) {
            return Err(refused("any container"));
        }
        let mut checked: HashMap<&str, (Target, &ContainerReport)> = HashMap::new();
        for one in &sample.containers {
            let source = Source::parse(&one.source).ok_or_else(|| refused(&one.source))?;
            match seen.get(&one.id) {
                Some(target) if target.node == sample.node && is_same(target.source, source) => {
                    checked.insert(&one.id, (target.clone(), one));
                }
                None if is_command(source.role) => {}
                _ => return Err(refused(&one.source)),
            }
        }
        let mut checked: Vec<_> = checked.into_values().collect();
        checked.sort_by_key(|(target, _)| target.source);
        Ok(checked)
    }
}

/// Whether a reported source is that of a container. Carriers do not know the number of an attempt of the wait command.
fn is_same(own: Source, reported: Source) -> bool {
    own == reported || (own.role == Role::Wait && reported.role == Role::Wait)
}

/// Whether containers of the role execute a command before the test.
fn is_command(role: Role) -> bool {
    matches!(role, Role::Readiness | Role::Wait)
}

/// The CPU usage that a watcher reports, within the bounds of its node.
fn cpu(percent: f64, processors: u32, limit: Option<f64>) -> Option<CpuInterval> {
    let all = f64::from(processors.min(MAX_PROCESSORS));
    // A reading may be slightly above the number of CPUs.
    let used = (percent / 100.0).clamp(0.0, 2.0 * all);
    used.is_finite().then(|| CpuInterval {
        used,
        processors: limit.map_or(all, |limit| limit.min(all)),
        seconds: SAMPLE_SECONDS,
    })
}

/// A run that expects results.
#[derive(Clone)]
struct ExpectedResults {
    receiver: Arc<dyn ResultsReceiver>,
    /// The containers and their nodes, according to Swarm.
    placed: Arc<HashSet<(Source, String)>>,
}

/// Runs that expect data from their carriers, by suffix.
#[derive(Default)]
pub(crate) struct IngestRegistry {
    receivers: Mutex<HashMap<String, ExpectedResults>>,
    watched: Mutex<HashMap<String, Arc<WatchedRun>>>,
    followed: Mutex<HashMap<String, Arc<FollowedRun>>>,
}

impl IngestRegistry {
    /// Registers a run that expects results of these containers on these nodes, until the guard is dropped.
    pub(crate) fn expect_results(
        self: &Arc<Self>,
        run: &str,
        receiver: Arc<dyn ResultsReceiver>,
        placed: HashSet<(Source, String)>,
    ) -> IngestGuard {
        let expected = ExpectedResults {
            receiver,
            placed: Arc::new(placed),
        };
        self.receivers.lock().insert(run.to_owned(), expected);
        IngestGuard {
            registry: Arc::clone(self),
            run: run.to_owned(),
        }
    }

    /// Registers a run whose resource usage is watched.
    pub(crate) fn watch(&self, run: &str, watched: WatchedRun) {
        let watched = Arc::new(watched);
        self.watched.lock().insert(run.to_owned(), watched);
    }

    /// Removes the registration of [`IngestRegistry::watch`].
    pub(crate) fn unwatch(&self, run: &str) {
        self.watched.lock().remove(run);
    }

    /// Registers a run whose result files are followed. It replaces an earlier registration.
    pub(crate) fn follow(&self, run: &str, followed: Arc<FollowedRun>) {
        self.followed.lock().insert(run.to_owned(), followed);
    }

    /// Removes this registration of [`IngestRegistry::follow`], unless it was replaced.
    pub(crate) fn unfollow(&self, run: &str, followed: &Arc<FollowedRun>) {
        let mut all = self.followed.lock();
        if all.get(run).is_some_and(|own| Arc::ptr_eq(own, followed)) {
            all.remove(run);
        }
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
    /// Checks that a carrier on `node` may send results of `source`.
    ///
    /// # Errors
    /// [`RequestError`] when it may not, or the results are not expected.
    pub fn check_results(
        &self,
        run: &str,
        token: &str,
        node: &str,
        source: &str,
    ) -> Result<(), RequestError> {
        self.expected(run, token, node, source).map(drop)
    }

    /// Stores the results of a container on another node.
    ///
    /// # Errors
    /// [`RequestError`] when the results are not expected or cannot be stored completely.
    pub async fn receive_results(
        &self,
        run: &str,
        token: &str,
        node: &str,
        source: &str,
        tar: Tar,
    ) -> Result<(), RequestError> {
        let (receiver, expected) = self.expected(run, token, node, source)?;
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
        node: &str,
        source: &str,
        problem: &str,
    ) -> Result<(), RequestError> {
        let (receiver, expected) = self.expected(run, token, node, source)?;
        receiver.note(expected, problem.chars().take(MAX_REASON).collect());
        Ok(())
    }

    /// The receiver of a run's results, if it expects those of `source` from `node`. The token proves the node.
    fn expected(
        &self,
        run: &str,
        token: &str,
        node: &str,
        source: &str,
    ) -> Result<(Arc<dyn ResultsReceiver>, Source), RequestError> {
        let errand = Errand::Collect { node };
        if !self.node_auth.is_authorized(run, token, errand) {
            return Err(RequestError::Unauthorized);
        }
        let closed = || RequestError::NotExpected(shorten(source));
        let expected = self.ingest.receivers.lock().get(run).cloned();
        let ExpectedResults { receiver, placed } = expected.ok_or_else(closed)?;
        let parsed = Source::parse(source);
        let is_there = |source: &Source| placed.contains(&(*source, node.to_owned()));
        let parsed = parsed.filter(is_there);
        let parsed = parsed.ok_or_else(|| RequestError::NotOnNode {
            container: shorten(source),
            node: node.to_owned(),
        })?;
        match receiver.expects(parsed) {
            true => Ok((receiver, parsed)),
            false => Err(closed()),
        }
    }

    /// Begins a request with appended bytes of result files. An earlier request of the node that is not complete is
    /// abandoned.
    ///
    /// # Errors
    /// [`RequestError`] when the carrier may not send them, or they are not expected.
    pub(crate) fn tail_turn(
        &self,
        run: &str,
        token: &str,
        node: &str,
    ) -> Result<TailTurn, RequestError> {
        let errand = Errand::Tail { node };
        if !self.node_auth.is_authorized(run, token, errand) {
            return Err(RequestError::Unauthorized);
        }
        let followed = self.ingest.followed.lock().get(run).cloned();
        followed.ok_or(RequestError::NotFollowed)?.begin(node)
    }

    /// Whether a carrier may report the resource usage of a run.
    pub fn may_report_usage(&self, run: &str, token: &str) -> bool {
        self.node_auth.is_authorized(run, token, Errand::Watch)
    }

    /// Records the resource usage of a node and of the run's containers on it. The token does not prove the node, as all
    /// watchers of a run have the same: the containers must be on it, and their ids are known only there.
    ///
    /// # Errors
    /// [`RequestError`] when the run is not watched, or a container is not on the node.
    pub fn record_usage(
        &self,
        run: &str,
        token: &str,
        sample: &NodeSample,
    ) -> Result<(), RequestError> {
        if !self.may_report_usage(run, token) {
            return Err(RequestError::Unauthorized);
        }
        let watched = self.ingest.watched.lock().get(run).cloned();
        let watched = watched.ok_or(RequestError::NotWatched)?;
        let containers = watched.check(sample)?;
        let sink = &watched.sink;
        // Only the containers show that the sample is from the node.
        if !containers.is_empty() {
            sink.node(
                &sample.node,
                sample.percent.clamp(0.0, 100.0),
                SAMPLE_SECONDS,
            );
        }
        for (target, report) in containers {
            sink.container(&ContainerSample {
                target: &target,
                cpu: cpu(report.percent, sample.processors, target.limit),
                usage: report.usage,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
