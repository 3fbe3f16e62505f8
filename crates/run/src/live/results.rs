//! Receives the result files of a running test: keeps and decodes them, and computes snapshots.

use super::Snapshot;
use super::progress::{Progress, ReadState, SourceProgress};
use crate::clock::Clock;
use async_trait::async_trait;
use atq_engine::{Append, Appended, ReadProblem, Renames, ResultsSink, Source, UpToDate};
use atq_evidence::live::{LiveFile, LiveFiles, Stored};
use atq_evidence::report::{ConditionResult, ResultFiles, SoFar};
use atq_report::live::{Live, LiveFigures, LiveSource, SourceState};
use atq_task::spec::{TaskSpec, shorten};
use atq_task::state::MetCondition;
use atq_task::timestamp::Timestamp;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, OwnedMutexGuard, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Interval of snapshots and of the evaluation of stop conditions.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time for which a request waits for a snapshot: decoding may take longer.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(2);
/// Problems of a snapshot without figures.
const NO_FILES: &str = "no bytes of result files have arrived yet";
const RESTORING: &str = "the result files are read again after a restart of the Director";
/// The reason why no window is evaluated before all files were read once: after a downtime of the Director, they lack the
/// samples that were written meanwhile.
const NOT_READ: &str = "the result files were not all read yet";
/// Bytes per read of a file that was received by an earlier process.
const READ_BYTES: usize = 256 * 1024;
/// Maximum number of remembered files of which no more bytes are accepted.
const MAX_REFUSED: usize = 100;

/// The growing results of a run. Bytes are on the disk before they are decoded, one piece after the other: a second piece
/// waits, and its sender with it.
pub struct LiveResults {
    clock: Clock,
    has_conditions: bool,
    work: Arc<tokio::sync::Mutex<Work>>,
    progress: Mutex<Progress>,
    progressed: Notify,
    latest: watch::Sender<Arc<Snapshot>>,
    /// A snapshot is requested although nobody follows them.
    requested: Notify,
    /// No more bytes are accepted.
    closed: Arc<AtomicBool>,
    met: Mutex<Option<MetCondition>>,
}

/// Files and figures. Its methods block.
struct Work {
    files: LiveFiles,
    /// The files that are decoded; the others are only kept.
    result_files: ResultFiles,
    /// `None` after a bug in a decoder.
    figures: Option<Live>,
    so_far: SoFar,
    /// Whether the files of an earlier process were decoded.
    is_restored: bool,
    /// Files of which no more bytes are accepted, with the reason; at most [`MAX_REFUSED`].
    refused: BTreeMap<String, String>,
}

impl LiveResults {
    /// The results of these containers. `files` are those of an earlier process.
    pub(crate) fn new(
        spec: &TaskSpec,
        files: LiveFiles,
        sources: BTreeSet<Source>,
        clock: Clock,
    ) -> Result<Self, String> {
        let so_far = SoFar::new(spec);
        let sources = sources.into_iter();
        let is_restored = files.files().next().is_none();
        let refused = files.refused().take(MAX_REFUSED);
        let refused = refused.map(|(file, reason)| (shorten(&name(file)), reason.to_owned()));
        let refused = refused.collect();
        let first = Snapshot {
            problem: Some(if is_restored { NO_FILES } else { RESTORING }.to_owned()),
            ..Snapshot::default()
        };
        Ok(Self {
            clock,
            has_conditions: !spec.stop_when.is_empty(),
            work: Arc::new(tokio::sync::Mutex::new(Work {
                files,
                result_files: ResultFiles::of(spec)?,
                figures: Some(Live::new(so_far.windows())),
                so_far,
                is_restored,
                refused,
            })),
            progress: Mutex::new(Progress {
                started: clock.now(),
                sources: sources
                    .map(|source| (source, SourceProgress::default()))
                    .collect(),
            }),
            progressed: Notify::new(),
            latest: watch::Sender::new(Arc::new(first)),
            requested: Notify::new(),
            closed: Arc::default(),
            met: Mutex::new(None),
        })
    }

    /// The snapshots from now on, about one a second while the receiver exists.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        let snapshots = self.latest.subscribe();
        self.requested.notify_one();
        snapshots
    }

    /// A snapshot that is at most a second old, or the last one while decoding takes long.
    pub async fn snapshot(&self) -> Arc<Snapshot> {
        if self.closed.load(Ordering::Acquire) {
            return self.latest();
        }
        let mut snapshots = self.subscribe();
        let now = self.clock.now();
        let is_current = |snapshot: &Arc<Snapshot>| is_current(snapshot, now);
        if let Ok(Ok(current)) = timeout(SNAPSHOT_TIMEOUT, snapshots.wait_for(is_current)).await {
            return Arc::clone(&current);
        }
        self.latest()
    }

    /// The latest snapshot.
    pub fn latest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.latest.borrow())
    }

    /// The stop condition that ends the run.
    pub(crate) fn met(&self) -> Option<MetCondition> {
        self.met.lock().clone()
    }

    /// The container is lost: no more bytes are expected, but they are accepted.
    pub(crate) fn lose(&self, source: Source) {
        if let Some(progress) = self.progress.lock().sources.get_mut(&source) {
            progress.is_lost = true;
        }
        self.progressed.notify_waiters();
    }

    /// The container has ended: nothing is expected after the bytes until now.
    pub(crate) fn note_end(&self, source: Source) {
        let now = self.clock.now();
        if let Some(progress) = self.progress.lock().sources.get_mut(&source) {
            progress.ended_at.get_or_insert(now);
        }
    }

    /// Accepts no more bytes of a container. None is written when this returns.
    pub(crate) async fn close(&self, source: Source) -> Closed {
        if let Some(progress) = self.progress.lock().sources.get_mut(&source) {
            progress.is_closed = true;
        }
        Closed(Arc::clone(&self.work).lock_owned().await)
    }

    /// Decodes the files that an earlier process has received, then evaluates the stop conditions and computes snapshots
    /// once a second. Never returns.
    pub(super) async fn run(self: Arc<Self>) {
        self.restore().await;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.compute(self.latest.receiver_count() > 0).await,
                // The first reader does not wait for the next tick.
                () = self.requested.notified() => {
                    if !is_current(&self.latest(), self.clock.now()) {
                        self.compute(true).await;
                        ticks.reset();
                    }
                }
            }
        }
    }

    async fn restore(self: &Arc<Self>) {
        let work = Arc::clone(&self.work).lock_owned().await;
        let (this, now) = (Arc::clone(self), self.clock.now());
        let restored = spawn_blocking(move || {
            let mut work = work;
            work.restore(now, &this.closed);
        });
        if let Err(error) = restored.await {
            tracing::error!(%error, "reading the received result files failed; this is a bug");
        }
    }

    /// Evaluates the conditions, and computes a snapshot if one is needed.
    async fn compute(self: &Arc<Self>, needs_snapshot: bool) {
        let work = Arc::clone(&self.work).lock_owned().await;
        let is_idle = work.is_idle() && !needs_snapshot && !self.has_conditions;
        if is_idle {
            return;
        }
        let (this, now) = (Arc::clone(self), self.clock.now());
        let computed = spawn_blocking(move || {
            let mut work = work;
            this.observe(&mut work, now, needs_snapshot);
        });
        if let Err(error) = computed.await {
            tracing::error!(%error, "the figures of a running test cannot be computed; this is a bug");
        }
    }

    /// Blocks.
    fn observe(&self, work: &mut Work, now: Timestamp, needs_snapshot: bool) {
        let read = self.progress.lock().read_state(now);
        let conditions = work.conditions(&read);
        let met = conditions.iter().find(|condition| condition.is_met);
        if let Some(ConditionResult {
            condition,
            seen: Ok(seen),
            ..
        }) = met
        {
            self.met.lock().get_or_insert_with(|| MetCondition {
                condition: condition.clone(),
                seen: seen.clone(),
            });
        }
        if needs_snapshot {
            let snapshot = work.snapshot(&read, now, conditions);
            self.latest
                .send_modify(|latest| *latest = Arc::new(snapshot.following(latest)));
        }
    }

    /// Waits until all files were read after `since`, as far as they are followed.
    pub(super) async fn read_since(&self, since: Timestamp) {
        loop {
            let progressed = self.progressed.notified();
            tokio::pin!(progressed);
            // Registered before the check, so that no progress is missed in between.
            progressed.as_mut().enable();
            if self.progress.lock().is_read_since(since) {
                return;
            }
            progressed.await;
        }
    }

    /// Accepts no more bytes, and computes the last snapshot, in which all files are complete.
    pub(super) async fn end(self: &Arc<Self>) {
        self.closed.store(true, Ordering::Release);
        let work = Arc::clone(&self.work).lock_owned().await;
        let (this, now) = (Arc::clone(self), self.clock.now());
        let ended = spawn_blocking(move || {
            let mut work = work;
            work.end();
            this.observe(&mut work, now, true);
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "the figures of an ended test cannot be computed; this is a bug");
        }
    }

    /// Sentences about stop conditions that were not evaluated until the end of the test, or never.
    pub(crate) fn unevaluated(&self) -> Vec<String> {
        let latest = self.latest();
        if let Some(problem) = latest.problem.as_ref().filter(|_| self.has_conditions) {
            return vec![not_evaluated_until_the_end(problem)];
        }
        let never = latest.conditions.iter().filter(|one| !one.was_known);
        let never = never.filter_map(|one| {
            let (condition, why) = (&one.condition, one.seen.as_ref().err()?);
            Some(format!(
                "the stop condition `{condition}` was never evaluated: {why}"
            ))
        });
        never.collect()
    }
}

/// A sentence about all stop conditions.
pub(crate) fn not_evaluated_until_the_end(why: &str) -> String {
    format!("`stopWhen` was not evaluated until the end of the test: {why}")
}

/// The reason why no file has figures while the test runs.
fn unreadable(figures: &LiveFigures) -> Option<String> {
    let has_figures = |one: &LiveSource| one.samples > 0 || one.state == SourceState::Reading;
    if figures.total.samples > 0 || figures.sources.iter().any(has_figures) {
        return None;
    }
    let first = figures.sources.first()?;
    let reason = first.problem.as_deref().unwrap_or(match first.state {
        SourceState::AtTheEnd => "its format has figures at the end only",
        _ => "it has no samples yet",
    });
    Some(format!(
        "no result file has figures yet: `{}`: {reason}",
        first.path
    ))
}

/// Nothing is written while it exists.
pub(crate) struct Closed(#[expect(dead_code)] OwnedMutexGuard<Work>);

/// Whether a snapshot need not be replaced yet.
fn is_current(snapshot: &Snapshot, now: Timestamp) -> bool {
    now.since(Timestamp(snapshot.id)) < INTERVAL
}

#[async_trait]
impl ResultsSink for LiveResults {
    async fn append(&self, appended: Appended) -> Result<Append, String> {
        let mut work = Arc::clone(&self.work).lock_owned().await;
        if self.closed.load(Ordering::Acquire) || !self.progress.lock().expects(appended.source) {
            return Ok(Append::Ignored);
        }
        let (closed, now) = (Arc::clone(&self.closed), self.clock.now());
        let done = spawn_blocking(move || {
            work.restore(now, &closed);
            work.append(appended)
        });
        done.await
            .unwrap_or_else(|error| Err(format!("this is a bug: {error}")))
    }

    async fn rename(&self, renames: Renames) -> Result<(), String> {
        let mut work = Arc::clone(&self.work).lock_owned().await;
        if self.closed.load(Ordering::Acquire) || !self.progress.lock().expects(renames.source) {
            return Ok(());
        }
        let (closed, now) = (Arc::clone(&self.closed), self.clock.now());
        let done = spawn_blocking(move || {
            work.restore(now, &closed);
            work.rename(&renames, &closed)
        });
        done.await
            .unwrap_or_else(|error| Err(format!("this is a bug: {error}")))
    }

    fn up_to_date(&self, sources: &[UpToDate]) {
        let now = self.clock.now();
        let mut progress = self.progress.lock();
        for UpToDate { source, incomplete } in sources {
            if let Some(progress) = progress.sources.get_mut(source) {
                let incomplete = incomplete.as_deref().map(shorten);
                progress.read_at = Some(now);
                progress.problem = incomplete.map(ReadProblem::Incomplete);
            }
        }
        drop(progress);
        self.progressed.notify_waiters();
    }

    fn problem(&self, sources: &[Source], problem: ReadProblem) {
        let problem = match problem {
            ReadProblem::Unread(problem) => ReadProblem::Unread(shorten(&problem)),
            ReadProblem::Incomplete(problem) => ReadProblem::Incomplete(shorten(&problem)),
        };
        let mut progress = self.progress.lock();
        for source in sources {
            if let Some(progress) = progress.sources.get_mut(source) {
                progress.problem = Some(problem.clone());
            }
        }
        drop(progress);
        self.progressed.notify_waiters();
    }
}

/// The name of a file in the figures, as in the report.
fn name(file: &LiveFile) -> String {
    format!("{}/{}", file.source, file.path)
}

/// Changes figures. A bug of a decoder ends the figures, and not the run.
fn decode(figures: &mut Option<Live>, decode: impl FnOnce(&mut Live)) {
    let Some(live) = figures else { return };
    if catch_unwind(AssertUnwindSafe(|| decode(live))).is_err() {
        tracing::error!("decoding the result files of a running test failed; this is a bug");
        *figures = None;
    }
}

impl Work {
    /// The decoded files.
    fn result_files(&self) -> impl Iterator<Item = &LiveFile> {
        let files = self.files.files().map(|(file, _)| file);
        files.filter(|file| self.result_files.contains(Path::new(&file.path)))
    }

    /// Decodes the files of an earlier process, unless this was done.
    fn restore(&mut self, now: Timestamp, closed: &AtomicBool) {
        if std::mem::replace(&mut self.is_restored, true) {
            return;
        }
        let files: Vec<LiveFile> = self.result_files().cloned().collect();
        self.decode_stored(&files, closed);
        for file in &files {
            // Its silence began when its last bytes were written, not with the restart.
            let written = self.files.written(file).map_or(now, |at| at.min(now));
            let name = name(file);
            decode(&mut self.figures, |live| live.restored(&name, written.0));
        }
    }

    /// Decodes the stored bytes of files, until the end of the results.
    fn decode_stored(&mut self, files: &[LiveFile], closed: &AtomicBool) {
        let mut buffer = vec![0; READ_BYTES];
        for file in files {
            let Ok(mut data) = self.files.read(file) else {
                continue;
            };
            let name = name(file);
            while let Ok(read @ 1..) = data.read(&mut buffer) {
                if closed.load(Ordering::Acquire) {
                    return;
                }
                decode(&mut self.figures, |live| live.feed(&name, &buffer[..read]));
            }
        }
    }

    fn rename(&mut self, renames: &Renames, closed: &AtomicBool) -> Result<(), String> {
        let renamed = self.files.rename(renames);
        if !renamed.map_err(|error| format!("the Director cannot store it: {error}"))? {
            return Ok(());
        }
        let source = renames.source;
        let file = |path: &String| LiveFile {
            source,
            path: path.clone(),
        };
        let is_result = |path: &String| self.result_files.contains(Path::new(path));
        let paths = renames.paths.iter();
        let paths: Vec<_> = paths
            .map(|(from, to)| (name(&file(from)), is_result(to).then(|| name(&file(to)))))
            .collect();
        // They were only kept under their names before.
        let new = renames.paths.iter();
        let new = new.filter(|(from, to)| !is_result(from) && is_result(to));
        let new: Vec<LiveFile> = new.map(|(_, to)| file(to)).collect();
        decode(&mut self.figures, |live| live.renamed(&paths));
        self.decode_stored(&new, closed);
        Ok(())
    }

    fn append(&mut self, appended: Appended) -> Result<Append, String> {
        let stored = self.files.append(&appended);
        let stored = stored.map_err(|error| format!("the Director cannot write them: {error}"))?;
        let file = LiveFile {
            source: appended.source,
            path: appended.path,
        };
        let name = name(&file);
        let restarts = match stored {
            Stored::ResumeAt(received) => return Ok(Append::ResumeAt(received)),
            Stored::Refused(reason) => {
                if self.refused.len() < MAX_REFUSED {
                    self.refused.insert(shorten(&name), reason);
                }
                return Ok(Append::Ignored);
            }
            Stored::Appended => false,
            Stored::Restarted => true,
        };
        if self.result_files.contains(Path::new(&file.path)) {
            decode(&mut self.figures, |live| {
                if restarts {
                    live.truncated(&name);
                }
                live.feed(&name, &appended.bytes);
            });
        }
        Ok(Append::Accepted)
    }

    /// Whether there is nothing to observe.
    fn is_idle(&self) -> bool {
        self.figures.as_ref().is_none_or(Live::is_empty)
    }

    /// All files are complete.
    fn end(&mut self) {
        let files: Vec<String> = self.result_files().map(name).collect();
        decode(&mut self.figures, |live| {
            files.iter().for_each(|file| live.ended(file))
        });
    }

    /// The reason why the figures are not up to date.
    fn doubt(&self, read: &ReadState) -> Option<String> {
        if self.figures.is_none() {
            return Some("the result files cannot be decoded; this is a bug".to_owned());
        }
        if !self.is_restored {
            return Some(RESTORING.to_owned());
        }
        let unread = || (!read.is_read).then(|| NOT_READ.to_owned());
        let problem = read.problem.clone();
        problem.or_else(|| self.refusal()).or_else(unread)
    }

    /// A sentence about files of which no more bytes are accepted.
    fn refusal(&self) -> Option<String> {
        let (file, reason) = self.refused.first_key_value()?;
        Some(match self.refused.len() - 1 {
            0 => format!("`{file}` is not read further until the end of the test: {reason}"),
            more => format!(
                "`{file}` and {more} more files are not read further until the end of the test: {reason}"
            ),
        })
    }

    /// Updates the figures and evaluates the stop conditions.
    fn conditions(&mut self, read: &ReadState) -> Vec<ConditionResult> {
        let until = read.until.0;
        let doubt = self.doubt(read);
        let is_lost = |file: &&LiveFile| read.lost.contains(&file.source);
        let lost: Vec<String> = self.result_files().filter(is_lost).map(name).collect();
        let mut last = Vec::new();
        decode(&mut self.figures, |live| {
            lost.iter().for_each(|file| live.lost(file));
            match (read.is_read, self.so_far.is_empty()) {
                (false, _) => {}
                (true, true) => live.observe(until),
                (true, false) => last = live.windows(until),
            }
        });
        self.so_far.observe(&last, doubt.as_deref())
    }

    fn snapshot(
        &mut self,
        read: &ReadState,
        now: Timestamp,
        conditions: Vec<ConditionResult>,
    ) -> Snapshot {
        let (mut figures, mut criteria) = (None, Vec::new());
        decode(&mut self.figures, |live| {
            let snapshot = live.snapshot(read.until.0);
            criteria = self.so_far.criteria(live, &snapshot.total);
            figures = (!live.is_empty()).then_some(snapshot);
        });
        if let (Some(figures), Some(refusal)) = (&mut figures, self.refusal()) {
            figures.notes.push(refusal);
        }
        let no_figures = || match &figures {
            None => Some(NO_FILES.to_owned()),
            Some(figures) => unreadable(figures),
        };
        Snapshot {
            id: now.0,
            lag: read
                .lag
                .map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
            problem: self.doubt(read).or_else(no_figures),
            figures,
            conditions,
            criteria,
            ..Snapshot::default()
        }
    }
}

impl std::fmt::Debug for LiveResults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveResults").finish_non_exhaustive()
    }
}
