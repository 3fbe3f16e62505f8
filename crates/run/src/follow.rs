//! Follows log lines as they are written. An engine may never end a followed log, even after its container has ended
//! (ARCHITECTURE.md, How Docker Swarm behaves). The containers are therefore observed at the same time. When one has
//! ended, the rest of its log is read without following, starting at the last known line (`position`): from the
//! engine, or from the evidence if the engine has removed the container.
//!
//! Nothing here is spawned: dropping the stream drops every connection to the engine.

mod position;
mod reader;
mod watcher;

use super::logs::{LogError, LogFilter, SourcedLine};
use super::{Orchestrator, View};
use atq_engine::Role;
use atq_evidence::Source;
use atq_store::StoreError;
use atq_task::spec::{ReadinessProbe, TaskSpec};
use atq_task::state::{State, Step};
use futures_util::stream::{self, BoxStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use std::collections::HashSet;
use std::future::{Future, ready};
use tokio::sync::{mpsc, watch};
use watcher::Snapshot;

/// Number of lines buffered for a slow client.
const BUFFERED_LINES: usize = 64;

/// The sink for lines.
type Lines = mpsc::Sender<Result<SourcedLine, LogError>>;

/// A request to follow the logs of a run.
struct Following {
    orchestrator: Orchestrator,
    view: View,
    filter: LogFilter,
}

impl Orchestrator {
    /// The lines of a task in the order in which they are written, beginning with the existing ones, until all selected
    /// containers have ended or the run is complete. May begin before any container exists.
    ///
    /// # Errors
    /// When the engine or the evidence cannot be read; later errors end the stream.
    pub async fn follow_logs(
        &self,
        view: &View,
        filter: LogFilter,
    ) -> Result<BoxStream<'static, Result<SourcedLine, LogError>>, LogError> {
        if view.state.step >= Step::Cleanup {
            return self.logs(view, filter).await;
        }
        let following = Following {
            orchestrator: self.clone(),
            view: view.clone(),
            filter,
        };
        Ok(generate(|lines| following.run(lines)))
    }
}

/// A stream of the items that `work` sends. `work` only makes progress while the stream is polled.
fn generate<T, F>(work: impl FnOnce(mpsc::Sender<T>) -> F) -> BoxStream<'static, T>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(BUFFERED_LINES);
    let work = work(sender).into_stream().filter_map(|()| ready(None));
    stream::select(
        stream::poll_fn(move |context| receiver.poll_recv(context)),
        work,
    )
    .boxed()
}

impl Following {
    async fn run(self, lines: Lines) {
        let mut closing = self.orchestrator.closing.subscribe();
        let (sender, snapshots) = watch::channel(Snapshot::default());
        let ended = tokio::select! {
            ended = self.read_all(snapshots, &lines) => ended,
            error = self.watch(&sender) => Err(error),
            _ = closing.wait_for(|closing| *closing) => Err(LogError::Closing),
        };
        if let Err(error) = ended {
            // Fails only if the receiver was dropped.
            let _ = lines.send(Err(error)).await;
        }
    }

    /// Reads the log of each selected container once it exists, until no further container can appear.
    async fn read_all(
        &self,
        mut snapshots: watch::Receiver<Snapshot>,
        lines: &Lines,
    ) -> Result<(), LogError> {
        let mut started = HashSet::new();
        let mut ended = HashSet::new();
        let mut readers = FuturesUnordered::new();
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            for (source, container) in &snapshot.containers {
                if started.insert(*source) {
                    readers.push(self.read(*source, container.clone(), snapshots.clone(), lines));
                }
            }
            let is_over = snapshot.is_over || self.has_all(&snapshot, &ended);
            if is_over && readers.is_empty() {
                return Ok(());
            }
            tokio::select! {
                Some(source) = readers.next() => {
                    ended.insert(source?);
                }
                changed = snapshots.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// Whether every selected log was read to its end.
    fn has_all(&self, snapshot: &Snapshot, ended: &HashSet<Source>) -> bool {
        let Some(state) = &snapshot.state else {
            return false;
        };
        let spec = &self.view.spec;
        [Role::Worker, Role::Master, Role::Readiness, Role::Wait]
            .into_iter()
            .filter(|role| self.filter.role.is_none_or(|wanted| wanted == *role))
            .all(|role| match expected(spec, role) {
                Some(replicas) => (1..=replicas)
                    .map(|replica| Source::new(role, replica))
                    .filter(|source| self.filter.wants(*source))
                    .all(|source| ended.contains(&source)),
                None => is_past(spec, state, role),
            })
    }

    fn state(&self) -> Result<Option<State>, StoreError> {
        let store = &self.orchestrator.shared.store;
        let stored = store.load_state(&self.view.spec.name)?;
        let own = stored.filter(|stored| stored.state.run == self.view.state.run);
        Ok(own.map(|stored| stored.state))
    }
}

/// The expected number of containers of the role; `None` if it is unknown.
fn expected(spec: &TaskSpec, role: Role) -> Option<u32> {
    match role {
        Role::Worker => Some(spec.worker.replicas),
        Role::Master => Some(spec.master.replicas),
        _ => None,
    }
}

/// Whether no further command of the role will run.
fn is_past(spec: &TaskSpec, state: &State, role: Role) -> bool {
    let probe = spec.readiness.as_ref().map(|readiness| &readiness.probe);
    let (is_defined, step) = match role {
        Role::Readiness => (
            matches!(probe, Some(ReadinessProbe::Exec(_))),
            Step::Readiness,
        ),
        _ => (spec.wait.is_some(), Step::WaitCommand),
    };
    !is_defined || state.step > step
}
