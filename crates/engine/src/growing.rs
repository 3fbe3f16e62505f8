//! An engine whose containers write result files as a test demands; for everything else another engine is used.

use crate::{
    Append, Appended, Deadline, Engine, EngineError, Facts, Fetched, ImageDigests, JoinTokens,
    LogLines, LogQuery, Member, Node, Owned, Part, ReadProblem, Received, Renames, Resolver,
    ResourceGuard, ResultsFollow, ResultsReceiver, ResultsSink, RunContext, Source, Status,
    StepError, StepResult, Targets, UpToDate, UsageSink, UsageWatch,
};
use async_trait::async_trait;
use atq_task::event::FailureCode;
use atq_task::spec::{Fault, TaskName, TaskSpec};
use futures_util::{StreamExt, stream};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum number of bytes that are sent at once: small, so that rows are split.
const MAX_BYTES: usize = 1000;

/// A result file of a container.
type File = (Source, String);

#[derive(Default)]
struct FilesState {
    /// Generation and content.
    files: BTreeMap<File, (u64, Vec<u8>)>,
    unreachable: BTreeSet<Source>,
    uncollected: Option<String>,
    /// Renames that the receiver does not know yet.
    renames: VecDeque<Renames>,
    /// Number of all renames.
    renamed: usize,
    problem: Option<String>,
    incomplete: BTreeMap<Source, String>,
    follows: usize,
    ended: usize,
}

/// The result files of all containers. Clones share their state.
#[derive(Clone, Default)]
pub struct GrowingFiles(Arc<Mutex<FilesState>>);

impl GrowingFiles {
    fn lock(&self) -> MutexGuard<'_, FilesState> {
        self.0.lock()
    }

    /// A container appends to a file.
    pub fn append(&self, source: Source, path: &str, text: &str) {
        let mut state = self.lock();
        let file = state.files.entry((source, path.to_owned())).or_default();
        file.1.extend_from_slice(text.as_bytes());
    }

    /// A container renames files, all at the same time.
    pub fn rename(&self, source: Source, paths: &[(&str, &str)]) {
        let mut state = self.lock();
        let paths = paths
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        let paths: Vec<(String, String)> = paths.collect();
        let file = |path: &String| (source, path.clone());
        let moved = paths.iter();
        let moved: Vec<_> = moved
            .filter_map(|(from, to)| Some((file(to), state.files.remove(&file(from))?)))
            .collect();
        state.files.extend(moved);
        state.renamed += 1;
        let id = state.renamed.to_string();
        state.renames.push_back(Renames { source, id, paths });
    }

    /// A container truncates a file.
    pub fn truncate(&self, source: Source, path: &str) {
        let mut state = self.lock();
        let file = state.files.entry((source, path.to_owned())).or_default();
        *file = (file.0 + 1, Vec::new());
    }

    /// The files of a container cannot be reached any more.
    pub fn disconnect(&self, source: Source) {
        self.lock().unreachable.insert(source);
    }

    /// The files of a container can be reached again.
    pub fn connect(&self, source: Source) {
        self.lock().unreachable.remove(&source);
    }

    /// The following fails for all containers with this reason, until it is `None`.
    pub fn fail(&self, problem: Option<&str>) {
        self.lock().problem = problem.map(str::to_owned);
    }

    /// Some files of a container are not followed for this reason, until it is `None`.
    pub fn leave_out(&self, source: Source, reason: Option<&str>) {
        let mut state = self.lock();
        match reason {
            Some(reason) => state.incomplete.insert(source, reason.to_owned()),
            None => state.incomplete.remove(&source),
        };
    }

    /// No results can be collected, for this reason.
    pub fn refuse_collection(&self, reason: &str) {
        self.lock().uncollected = Some(reason.to_owned());
    }

    /// The results of a container as a tar archive.
    fn tar(&self, source: Source) -> Vec<u8> {
        let mut tar = Vec::new();
        for ((_, path), _, content) in self.of(&[source]) {
            // Names in this format are short.
            if path.len() > 90 {
                continue;
            }
            tar.extend(tar_entry(&format!("results/{path}"), &content));
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    /// Number of times that a following began, and that it was ended.
    pub fn follows(&self) -> (usize, usize) {
        let state = self.lock();
        (state.follows, state.ended)
    }

    fn of(&self, sources: &[Source]) -> Vec<(File, u64, Vec<u8>)> {
        let state = self.lock();
        let files = state.files.iter().filter(|((source, _), _)| {
            sources.contains(source) && !state.unreachable.contains(source)
        });
        files
            .map(|(file, (generation, content))| (file.clone(), *generation, content.clone()))
            .collect()
    }

    /// The containers whose files are followed.
    fn reached(&self, sources: &[Source]) -> Vec<UpToDate> {
        let state = self.lock();
        let reached = sources
            .iter()
            .filter(|source| !state.unreachable.contains(source));
        reached
            .map(|source| UpToDate {
                source: *source,
                incomplete: state.incomplete.get(source).cloned(),
            })
            .collect()
    }

    /// A container has replaced a file while it was not followed.
    fn replace(&self, file: &File, generation: u64) {
        if let Some(known) = self.lock().files.get_mut(file) {
            known.0 = generation;
        }
    }
}

/// A regular file in a tar archive.
fn tar_entry(path: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    // The checksum counts as blanks.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\u{0}00");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\u{0}").as_bytes());
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// Sends the files to a sink until it is cancelled.
async fn follow(files: GrowingFiles, sources: Vec<Source>, sink: Arc<dyn ResultsSink>) {
    let mut sent: BTreeMap<File, Received> = BTreeMap::new();
    loop {
        let renames = files.lock().renames.front().cloned();
        if let Some(renames) = renames {
            // Where each file continues is answered.
            sent.clear();
            // They are repeated, as if an answer was lost.
            let _ = sink.rename(renames.clone()).await;
            if sink.rename(renames).await.is_ok() {
                files.lock().renames.pop_front();
            }
            continue;
        }
        let problem = files.lock().problem.clone();
        match problem {
            Some(problem) => sink.problem(&sources, ReadProblem::Unread(problem)),
            None => {
                for (file, generation, content) in files.of(&sources) {
                    send(&files, &mut sent, file, generation, content, &sink).await;
                }
                sink.up_to_date(&files.reached(&sources));
            }
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn send(
    files: &GrowingFiles,
    sent: &mut BTreeMap<File, Received>,
    file: File,
    generation: u64,
    content: Vec<u8>,
    sink: &Arc<dyn ResultsSink>,
) {
    loop {
        let received = sent.entry(file.clone()).or_default();
        if received.generation != generation {
            *received = Received {
                generation,
                bytes: 0,
            };
        }
        let start = usize::try_from(received.bytes).unwrap_or(usize::MAX);
        let end = content.len().min(start.saturating_add(MAX_BYTES));
        let Some(part) = content.get(start..end).filter(|part| !part.is_empty()) else {
            return;
        };
        let appended = Appended {
            source: file.0,
            path: file.1.clone(),
            generation,
            offset: received.bytes,
            bytes: Bytes::copy_from_slice(part),
        };
        match sink.append(appended).await {
            Ok(Append::Accepted) => received.bytes = end as u64,
            Ok(Append::ResumeAt(at)) if at.generation == generation => *received = at,
            Ok(Append::ResumeAt(at)) => {
                return files.replace(&file, at.generation.max(generation) + 1);
            }
            Ok(Append::Ignored) | Err(_) => return,
        }
    }
}

struct Follow {
    files: GrowingFiles,
    following: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[async_trait]
impl ResultsFollow for Follow {
    async fn end(&self) {
        self.following.lock().take();
        self.files.lock().ended += 1;
    }
}

/// An engine with [`GrowingFiles`].
pub struct Growing {
    engine: Arc<dyn Engine>,
    files: GrowingFiles,
}

impl Growing {
    /// Adds the files to an engine.
    pub fn new(engine: Arc<dyn Engine>, files: GrowingFiles) -> Self {
        Self { engine, files }
    }
}

#[async_trait]
impl Engine for Growing {
    fn follow_results(
        &self,
        _: Facts<'_>,
        members: Vec<Member>,
        sink: Arc<dyn ResultsSink>,
    ) -> Box<dyn ResultsFollow> {
        self.files.lock().follows += 1;
        let sources = members.iter().map(|member| member.source).collect();
        let following = tokio::spawn(follow(self.files.clone(), sources, sink));
        Box::new(Follow {
            files: self.files.clone(),
            following: Mutex::new(Some(AbortOnDropHandle::new(following))),
        })
    }

    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn unanswered(&self) -> EngineError {
        self.engine.unanswered()
    }

    async fn status(&self) -> Result<Status, EngineError> {
        self.engine.status().await
    }

    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        self.engine.nodes().await
    }

    async fn reconnect(&self) {
        self.engine.reconnect().await;
    }

    async fn join_tokens(&self) -> Result<JoinTokens, EngineError> {
        self.engine.join_tokens().await
    }

    async fn pull_image(&self, image: &str) -> Result<(), EngineError> {
        self.engine.pull_image(image).await
    }

    async fn image_digests(&self, image: &str) -> Result<Option<ImageDigests>, EngineError> {
        self.engine.image_digests(image).await
    }

    fn own_images(&self) -> Vec<String> {
        self.engine.own_images()
    }

    async fn check(&self, spec: &TaskSpec) -> Result<Vec<Fault>, EngineError> {
        self.engine.check(spec).await
    }

    fn adopt(&self, run: Facts<'_>) -> ResourceGuard {
        self.engine.adopt(run)
    }

    async fn distribute(&self, run: &mut dyn RunContext) -> StepResult {
        self.engine.distribute(run).await
    }

    async fn prepare(&self, run: &mut dyn RunContext) -> StepResult {
        self.engine.prepare(run).await
    }

    async fn start_discovery(&self, run: &mut dyn RunContext) -> StepResult {
        self.engine.start_discovery(run).await
    }

    async fn end_discovery(&self, run: Facts<'_>) -> Result<(), EngineError> {
        self.engine.end_discovery(run).await
    }

    fn resolver(&self) -> Box<dyn Resolver> {
        self.engine.resolver()
    }

    async fn start(
        &self,
        run: &mut dyn RunContext,
        part: Part<'_>,
        deadline: Deadline,
    ) -> Result<String, StepError> {
        self.engine.start(run, part, deadline).await
    }

    async fn observe(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError> {
        self.engine.observe(run).await
    }

    async fn logged(&self, run: Facts<'_>) -> Result<Vec<Member>, EngineError> {
        self.engine.logged(run).await
    }

    async fn logs(&self, id: &str, tty: bool, query: LogQuery) -> Result<LogLines, EngineError> {
        self.engine.logs(id, tty, query).await
    }

    async fn results(
        &self,
        _: Facts<'_>,
        wanted: Vec<Member>,
        receiver: Arc<dyn ResultsReceiver>,
    ) -> Result<Fetched, EngineError> {
        if let Some(reason) = self.files.lock().uncollected.clone() {
            let each = wanted.iter().map(|member| (member.source, reason.clone()));
            return Ok(Fetched {
                problems: each.collect(),
                ..Fetched::default()
            });
        }
        for member in wanted {
            let tar = Bytes::from(self.files.tar(member.source));
            let tar = stream::iter([Ok(tar)]).boxed();
            // The receiver records the outcome.
            let _ = receiver.take(member.source, tar).await;
        }
        Ok(Fetched::default())
    }

    fn watch(
        &self,
        run: Facts<'_>,
        targets: Targets,
        sink: Arc<dyn UsageSink>,
    ) -> Box<dyn UsageWatch> {
        self.engine.watch(run, targets, sink)
    }

    async fn stop(&self, group: &str) -> Result<(), EngineError> {
        self.engine.stop(group).await
    }

    async fn kill(&self, run: Facts<'_>) {
        self.engine.kill(run).await;
    }

    async fn dismiss(&self, group: &str) -> Result<(), EngineError> {
        self.engine.dismiss(group).await
    }

    async fn release(&self, run: Facts<'_>) -> Vec<String> {
        self.engine.release(run).await
    }

    async fn release_task(&self, task: &TaskName, force: bool) -> Vec<String> {
        self.engine.release_task(task, force).await
    }

    async fn owned(&self) -> Result<Vec<Owned>, EngineError> {
        self.engine.owned().await
    }

    async fn release_owned(&self, task: &str, run: &str) -> Vec<String> {
        self.engine.release_owned(task, run).await
    }

    fn removal_commands(&self, owned: &[(&'static str, String)]) -> String {
        self.engine.removal_commands(owned)
    }

    async fn hold_bundles(&self) -> ResourceGuard {
        self.engine.hold_bundles().await
    }

    async fn forget_bundle(&self, bundle: &str) -> io::Result<bool> {
        self.engine.forget_bundle(bundle).await
    }

    async fn clear_bundle(&self, bundle: &str) -> io::Result<Vec<String>> {
        self.engine.clear_bundle(bundle).await
    }

    async fn forgotten_bundles(&self) -> io::Result<Vec<String>> {
        self.engine.forgotten_bundles().await
    }

    async fn explain(&self, image: &str, message: String) -> String {
        self.engine.explain(image, message).await
    }

    fn advice(&self, code: FailureCode, message: &str, spec: &TaskSpec) -> String {
        self.engine.advice(code, message, spec)
    }
}
