//! Results of a run on their way to the Director, from wherever they come.

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

/// How long it is waited for the results of a run,
const PATIENCE: Duration = Duration::from_secs(60);
/// a second longer for each so many bytes that have arrived,
const BYTES_A_SECOND: u64 = 20_000_000;
/// but never longer than this.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// One look for the results of a run. All that arrives shares one limit and one clock.
#[derive(Debug)]
pub struct Intake {
    begun: Instant,
    bytes: AtomicU64,
    closed: AtomicBool,
    closing: Notify,
    budget: Arc<Budget>,
    /// Why results cannot be sent, as their nodes say.
    problems: Mutex<BTreeMap<Source, String>>,
    /// Whose results may arrive.
    expected: Vec<Source>,
}

impl Intake {
    /// Begins now; `kept` are kept already.
    pub fn new(limits: ResultsLimits, kept: &[KeptResults], expected: Vec<Source>) -> Self {
        Self {
            begun: Instant::now(),
            bytes: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            problems: Mutex::default(),
            budget: Arc::new(Budget::new(limits, kept)),
            expected,
        }
    }

    /// Notes why the results of `source` cannot be sent.
    pub fn note(&self, source: Source, problem: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.insert(source, problem);
    }

    /// Why results cannot be sent.
    pub fn problems(&self) -> BTreeMap<Source, String> {
        let problems = self.problems.lock();
        problems.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What may still be kept.
    pub fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.budget)
    }

    /// Whether the results of `source` are waited for.
    pub fn expects(&self, source: Source) -> bool {
        !self.closed.load(Ordering::Acquire) && self.expected.contains(&source)
    }

    /// When it is over, as far as can be said now: what arrives puts it off.
    pub fn end(&self) -> Instant {
        let seconds = self.bytes.load(Ordering::Relaxed) / BYTES_A_SECOND;
        self.begun + (PATIENCE + Duration::from_secs(seconds)).min(LONGEST)
    }

    /// Nothing more is taken; what has arrived is kept.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }

    /// The same bytes, up to the end of the look: an error then says so.
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
            // Registered before the look, so that no closing is missed in between.
            let closing = self.closing.notified();
            if self.closed.load(Ordering::Acquire) {
                return Some(Err(io::Error::other("nobody waits for them any more")));
            }
            tokio::select! {
                biased;
                next = timeout_at(self.end(), bytes.next()) => match next {
                    Ok(next) => return next,
                    // Others may have put it off.
                    Err(_) if Instant::now() < self.end() => {}
                    Err(_) => return Some(Err(io::Error::other(self.too_late()))),
                },
                () = closing => {}
            }
        }
    }

    /// What is said of results that come no more.
    pub fn too_late(&self) -> String {
        let seconds = self.end().duration_since(self.begun).as_secs();
        format!("there was no more of them within {seconds} s")
    }
}

/// The sentence for results that cannot be had.
pub(super) fn unread(source: Source, reason: &str) -> String {
    format!("the results of {source} could not be read: {reason}")
}

/// The look of one run, and where its results are kept.
pub struct RunIntake {
    evidence: Evidence,
    task: TaskName,
    run: String,
    intake: Arc<Intake>,
    /// Results that could not be kept at all, with the reasons.
    unkept: Mutex<BTreeMap<Source, String>>,
    /// Results that were kept.
    kept: Mutex<BTreeMap<Source, KeptResults>>,
}

impl RunIntake {
    /// The look of `run`.
    pub(super) fn new(run: &Run, intake: Intake) -> Self {
        Self {
            evidence: run.shared.evidence.clone(),
            task: run.spec.name.clone(),
            run: run.state.run.clone(),
            intake: Arc::new(intake),
            unkept: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// Nothing more is taken; what has arrived is kept.
    pub fn close(&self) {
        self.intake.close();
    }

    /// The results of `source` as this look has kept them.
    pub fn kept(&self, source: Source) -> Option<KeptResults> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&source).cloned()
    }

    /// Why nothing is kept of `source`, as a sentence.
    pub fn problem(&self, source: Source) -> Option<String> {
        if let Some(noted) = self.intake.problems().get(&source) {
            return Some(unread(source, noted));
        }
        let unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner);
        unkept.get(&source).cloned()
    }
}

#[async_trait]
impl Taker for RunIntake {
    fn expects(&self, source: Source) -> bool {
        self.intake.expects(source)
    }

    fn end(&self) -> Instant {
        self.intake.end()
    }

    fn too_late(&self) -> String {
        self.intake.too_late()
    }

    fn note(&self, source: Source, problem: String) {
        self.intake.note(source, problem);
    }

    async fn take(&self, source: Source, tar: Tar) -> Result<Option<Stop>, String> {
        let (tar, budget) = (self.intake.bounded(tar), self.intake.budget());
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
