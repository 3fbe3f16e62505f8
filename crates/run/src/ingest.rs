//! Receives the results of a run: time limit, size limit, and storage.

use super::run::Run;
use async_trait::async_trait;
use atq_engine::{Source, Stop, Taker, Tar};
use atq_evidence::Evidence;
use atq_evidence::results::{Budget, KeptResults, ResultsLimits};
use atq_task::spec::TaskName;
use futures_util::stream::{self, Stream, StreamExt};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::bytes::Bytes;

/// Timeout for the results of a run,
const BASE_TIMEOUT: Duration = Duration::from_secs(60);
/// extended by one second for each so many bytes received,
const BYTES_PER_SECOND: u64 = 20_000_000;
/// up to this maximum.
const MAX_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// One collection of the results of a run. All results share one time limit and one size limit.
#[derive(Debug)]
pub struct IngestSession {
    started: Instant,
    bytes: AtomicU64,
    closed: AtomicBool,
    closing: Notify,
    budget: Arc<Budget>,
    /// Reasons for missing results, as reported by the nodes.
    problems: Mutex<BTreeMap<Source, String>>,
    /// Containers whose results are expected.
    expected: Vec<Source>,
}

impl IngestSession {
    /// Starts a collection; `kept` are already stored.
    pub fn new(limits: ResultsLimits, kept: &[KeptResults], expected: Vec<Source>) -> Self {
        Self {
            started: Instant::now(),
            bytes: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            problems: Mutex::default(),
            budget: Arc::new(Budget::new(limits, kept)),
            expected,
        }
    }

    /// Records the reason why the results of `source` cannot be sent.
    pub fn record_problem(&self, source: Source, problem: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.insert(source, problem);
    }

    /// Reasons for results that cannot be sent.
    pub fn problems(&self) -> BTreeMap<Source, String> {
        let problems = self.problems.lock();
        problems.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The remaining size limit.
    pub fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.budget)
    }

    /// Whether the results of `source` are expected.
    pub fn expects(&self, source: Source) -> bool {
        !self.closed.load(Ordering::Acquire) && self.expected.contains(&source)
    }

    /// The current deadline. Received bytes extend it.
    pub fn deadline(&self) -> Instant {
        let seconds = self.bytes.load(Ordering::Relaxed) / BYTES_PER_SECOND;
        self.started + (BASE_TIMEOUT + Duration::from_secs(seconds)).min(MAX_TIMEOUT)
    }

    /// Accepts no further results; received ones are kept.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }

    /// Limits a stream to the deadline; after it, the stream yields an error.
    pub fn bounded<S>(
        self: &Arc<Self>,
        bytes: S,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + use<S>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    {
        let this = Arc::clone(self);
        stream::unfold(Some((this, bytes)), |reading| async move {
            let (this, mut bytes) = reading?;
            match this.next(&mut bytes).await {
                Some(Ok(part)) => {
                    this.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
                    Some((Ok(part), Some((this, bytes))))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            }
        })
    }

    async fn next<S>(&self, bytes: &mut S) -> Option<io::Result<Bytes>>
    where
        S: Stream<Item = io::Result<Bytes>> + Unpin,
    {
        loop {
            // Registered before the check, so that no closing is missed in between.
            let closing = self.closing.notified();
            if self.closed.load(Ordering::Acquire) {
                return Some(Err(io::Error::other("they are not expected any more")));
            }
            tokio::select! {
                biased;
                next = timeout_at(self.deadline(), bytes.next()) => match next {
                    Ok(next) => return next,
                    // Other results may have extended the deadline.
                    Err(_) if Instant::now() < self.deadline() => {}
                    Err(_) => return Some(Err(io::Error::other(self.too_late()))),
                },
                () = closing => {}
            }
        }
    }

    /// The message for results after the deadline.
    pub fn too_late(&self) -> String {
        let seconds = self.deadline().duration_since(self.started).as_secs();
        format!("timeout after {seconds} s")
    }
}

/// The message for results that cannot be read.
pub(super) fn unread(source: Source, reason: &str) -> String {
    format!("the results of {source} could not be read: {reason}")
}

/// Receives the results of one run and stores them as evidence.
pub struct ResultsIngest {
    evidence: Evidence,
    task: TaskName,
    run: String,
    session: Arc<IngestSession>,
    /// Reasons for results that could not be stored at all.
    unkept: Mutex<BTreeMap<Source, String>>,
    /// Stored results.
    kept: Mutex<BTreeMap<Source, KeptResults>>,
}

impl ResultsIngest {
    /// The collection of `run`.
    pub(super) fn new(run: &Run, session: IngestSession) -> Self {
        Self {
            evidence: run.shared.evidence.clone(),
            task: run.spec.name.clone(),
            run: run.state.run.clone(),
            session: Arc::new(session),
            unkept: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// Accepts no further results; received ones are kept.
    pub fn close(&self) {
        self.session.close();
    }

    /// The results of `source` stored by this collection.
    pub fn kept(&self, source: Source) -> Option<KeptResults> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&source).cloned()
    }

    /// The reason, as a sentence, why no results of `source` are stored.
    pub fn problem(&self, source: Source) -> Option<String> {
        if let Some(problem) = self.session.problems().get(&source) {
            return Some(unread(source, problem));
        }
        let unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner);
        unkept.get(&source).cloned()
    }
}

#[async_trait]
impl Taker for ResultsIngest {
    fn expects(&self, source: Source) -> bool {
        self.session.expects(source)
    }

    fn end(&self) -> Instant {
        self.session.deadline()
    }

    fn too_late(&self) -> String {
        self.session.too_late()
    }

    fn note(&self, source: Source, problem: String) {
        self.session.record_problem(source, problem);
    }

    async fn take(&self, source: Source, tar: Tar) -> Result<Option<Stop>, String> {
        let (tar, budget) = (self.session.bounded(tar), self.session.budget());
        let evidence = &self.evidence;
        let kept = evidence.keep_results(&self.task, &self.run, source, tar, budget);
        let kept = kept.await.inspect_err(|error| {
            let mut unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner);
            unkept.insert(source, error.clone());
        });
        let (kept, stop) = kept?;
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(source, kept);
        Ok(stop)
    }
}
