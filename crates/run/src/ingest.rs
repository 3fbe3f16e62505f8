//! Receives the results of a run: time limit, size limit, and storage.

use super::run::Run;
use async_trait::async_trait;
use atq_engine::{ResultsReceiver, Source, Stop, Tar};
use atq_evidence::Evidence;
use atq_evidence::results::{Budget, KeptResults};
use atq_task::spec::TaskName;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::bytes::Bytes;

/// Initial timeout for the results of a run.
const BASE_TIMEOUT: Duration = Duration::from_secs(60);
/// Number of received bytes that extend the timeout by one second.
const BYTES_PER_SECOND: u64 = 20_000_000;
/// Maximum of the extended timeout.
const MAX_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Receives the results of one run and stores them as evidence. All results share one time limit and one size limit.
pub struct ResultsIngest {
    evidence: Evidence,
    task: TaskName,
    run: String,
    limits: Arc<IngestLimits>,
    budget: Arc<Budget>,
    /// Containers whose results are expected.
    expected: Vec<Source>,
    outcomes: Mutex<Outcomes>,
}

/// The outcomes of a collection so far.
#[derive(Default)]
struct Outcomes {
    /// Reasons for missing results, as reported by the nodes.
    problems: BTreeMap<Source, String>,
    /// Reasons for results that could not be stored at all.
    unkept: BTreeMap<Source, String>,
    /// Stored results.
    kept: BTreeMap<Source, KeptResults>,
}

impl ResultsIngest {
    /// Starts the collection of the results of `expected`; `kept` are already stored.
    pub(super) fn new(run: &Run, kept: &[KeptResults], expected: Vec<Source>) -> Self {
        Self {
            evidence: run.shared.evidence.clone(),
            task: run.spec.name.clone(),
            run: run.state.run.clone(),
            limits: Arc::new(IngestLimits {
                started: Instant::now(),
                bytes: AtomicU64::new(0),
                closed: AtomicBool::new(false),
                closing: Notify::new(),
            }),
            budget: Arc::new(Budget::new(run.shared.settings.results, kept)),
            expected,
            outcomes: Mutex::default(),
        }
    }

    /// Accepts no further results; received ones are kept.
    pub fn close(&self) {
        self.limits.closed.store(true, Ordering::Release);
        self.limits.closing.notify_waiters();
    }

    /// The results of `source` stored by this collection.
    pub fn kept(&self, source: Source) -> Option<KeptResults> {
        self.outcomes.lock().kept.get(&source).cloned()
    }

    /// Why no results of `source` are stored.
    pub fn problem(&self, source: Source) -> Option<Uncollected> {
        let outcomes = self.outcomes.lock();
        match outcomes.problems.get(&source) {
            Some(problem) => Some(Uncollected::Unread(problem.clone())),
            None => outcomes
                .unkept
                .get(&source)
                .cloned()
                .map(Uncollected::Unkept),
        }
    }
}

/// Why results are not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uncollected {
    /// They could not be read, for this reason.
    Unread(String),
    /// They could not be written; as a sentence.
    Unkept(String),
}

#[async_trait]
impl ResultsReceiver for ResultsIngest {
    fn expects(&self, source: Source) -> bool {
        !self.limits.closed.load(Ordering::Acquire) && self.expected.contains(&source)
    }

    fn end(&self) -> Instant {
        self.limits.deadline()
    }

    fn too_late(&self) -> String {
        self.limits.too_late()
    }

    fn note(&self, source: Source, problem: String) {
        self.outcomes.lock().problems.insert(source, problem);
    }

    async fn take(&self, source: Source, tar: Tar) -> Result<Option<Stop>, String> {
        let (tar, budget) = (bounded(&self.limits, tar), Arc::clone(&self.budget));
        let evidence = &self.evidence;
        let kept = evidence.keep_results(&self.task, &self.run, source, tar, budget);
        let kept = kept.await.inspect_err(|error| {
            let mut outcomes = self.outcomes.lock();
            outcomes.unkept.insert(source, error.clone());
        });
        let (kept, stop) = kept?;
        self.outcomes.lock().kept.insert(source, kept);
        Ok(stop)
    }
}

/// The time limit of a collection. Received bytes extend it.
struct IngestLimits {
    started: Instant,
    bytes: AtomicU64,
    closed: AtomicBool,
    closing: Notify,
}

impl IngestLimits {
    /// The current deadline.
    fn deadline(&self) -> Instant {
        let seconds = self.bytes.load(Ordering::Relaxed) / BYTES_PER_SECOND;
        self.started + (BASE_TIMEOUT + Duration::from_secs(seconds)).min(MAX_TIMEOUT)
    }

    /// The message for results after the deadline.
    fn too_late(&self) -> String {
        let seconds = self.deadline().duration_since(self.started).as_secs();
        format!("timeout after {seconds} s")
    }

    /// The next chunk, or an error after the deadline or the end of the collection.
    async fn next(&self, tar: &mut Tar) -> Option<io::Result<Bytes>> {
        loop {
            // Registered before the check, so that no closing is missed in between.
            let closing = self.closing.notified();
            if self.closed.load(Ordering::Acquire) {
                return Some(Err(io::Error::other("they are not expected any more")));
            }
            tokio::select! {
                biased;
                next = timeout_at(self.deadline(), tar.next()) => match next {
                    Ok(next) => return next,
                    // Other results may have extended the deadline.
                    Err(_) if Instant::now() < self.deadline() => {}
                    Err(_) => return Some(Err(io::Error::other(self.too_late()))),
                },
                () = closing => {}
            }
        }
    }
}

/// Limits a stream to the deadline; after it, the stream yields an error.
fn bounded(limits: &Arc<IngestLimits>, tar: Tar) -> Tar {
    let limits = Arc::clone(limits);
    let bounded = stream::unfold(Some((limits, tar)), |reading| async move {
        let (limits, mut tar) = reading?;
        match limits.next(&mut tar).await? {
            Ok(part) => {
                limits.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
                Some((Ok(part), Some((limits, tar))))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    bounded.boxed()
}

/// The message for results that cannot be read.
pub(super) fn unread(source: Source, reason: &str) -> String {
    format!("the results of {source} could not be read: {reason}")
}
