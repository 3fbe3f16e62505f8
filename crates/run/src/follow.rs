//! Log lines as they are written. An engine may never end a log that is followed, also not when its container
//! has ended (ARCHITECTURE.md, How Docker Swarm behaves). So each log is followed beside a look at its
//! container: when that has ended the rest is read once more, without following, from the last line
//! that was seen on ([`place`]); when the engine has forgotten it, from the evidence.
//!
//! Nothing here is spawned: when the stream is dropped, so is every connection to the engine.

mod place;
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
use watcher::Seen;

/// Lines that wait for a slow client.
const WAITING: usize = 64;

/// Where lines go.
type Lines = mpsc::Sender<Result<SourcedLine, LogError>>;

/// What is followed.
struct Following {
    it: Orchestrator,
    view: View,
    filter: LogFilter,
}

impl Orchestrator {
    /// The lines of a task in the order in which they are written, beginning with those that are
    /// there, until all wanted containers have ended, or the run is over. May begin before there is any
    /// container.
    ///
    /// # Errors
    /// When the engine or the evidence cannot be read. Later errors end the stream.
    pub async fn follow_logs(
        &self,
        view: &View,
        filter: LogFilter,
    ) -> Result<BoxStream<'static, Result<SourcedLine, LogError>>, LogError> {
        if view.state.step >= Step::Cleanup {
            return self.logs(view, filter).await;
        }
        let following = Following {
            it: self.clone(),
            view: view.clone(),
            filter,
        };
        Ok(generate(|lines| following.run(lines)))
    }
}

/// What `work` sends. It works only as long as somebody takes that.
fn generate<T, F>(work: impl FnOnce(mpsc::Sender<T>) -> F) -> BoxStream<'static, T>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, mut sent) = mpsc::channel(WAITING);
    let work = work(sender).into_stream().filter_map(|()| ready(None));
    stream::select(
        stream::poll_fn(move |context| sent.poll_recv(context)),
        work,
    )
    .boxed()
}

impl Following {
    async fn run(self, lines: Lines) {
        let mut closing = self.it.closing.subscribe();
        let (sender, seen) = watch::channel(Seen::default());
        let ended = tokio::select! {
            ended = self.read_all(seen, &lines) => ended,
            error = self.watch(&sender) => Err(error),
            _ = closing.wait_for(|closing| *closing) => Err(LogError::Closing),
        };
        if let Err(error) = ended {
            // Nobody takes it only when nobody is there.
            let _ = lines.send(Err(error)).await;
        }
    }

    /// Reads each wanted log as it comes into sight, until no other can come.
    async fn read_all(
        &self,
        mut seen: watch::Receiver<Seen>,
        lines: &Lines,
    ) -> Result<(), LogError> {
        let mut begun = HashSet::new();
        let mut ended = HashSet::new();
        let mut readers = FuturesUnordered::new();
        loop {
            let present = seen.borrow_and_update().clone();
            for (source, container) in &present.containers {
                if begun.insert(*source) {
                    readers.push(self.read(*source, container.clone(), seen.clone(), lines));
                }
            }
            let is_over = present.is_over || self.has_all(&present, &ended);
            if is_over && readers.is_empty() {
                return Ok(());
            }
            tokio::select! {
                Some(source) = readers.next() => {
                    ended.insert(source?);
                }
                changed = seen.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// Whether every log that is wanted was read to its end.
    fn has_all(&self, seen: &Seen, ended: &HashSet<Source>) -> bool {
        let Some(state) = &seen.state else {
            return false;
        };
        let spec = &self.view.spec;
        [Role::Worker, Role::Master, Role::Readiness, Role::Wait]
            .into_iter()
            .filter(|role| self.filter.role.is_none_or(|wanted| wanted == *role))
            .all(|role| match expected(spec, role) {
                Some(replicas) => (1..=replicas)
                    .map(|replica| Source { role, replica })
                    .filter(|source| self.filter.wants(*source))
                    .all(|source| ended.contains(&source)),
                None => is_past(spec, state, role),
            })
    }

    fn state(&self) -> Result<Option<State>, StoreError> {
        let stored = self.it.shared.store.standing(&self.view.spec.name)?;
        let own = stored.filter(|stored| stored.state.run == self.view.state.run);
        Ok(own.map(|stored| stored.state))
    }
}

/// How many containers of the role there will be, if all goes well; none: nobody knows.
fn expected(spec: &TaskSpec, role: Role) -> Option<u32> {
    match role {
        Role::Worker => Some(spec.worker.replicas),
        Role::Master => Some(spec.master.replicas),
        _ => None,
    }
}

/// Whether no command of the role will be run any more.
fn is_past(spec: &TaskSpec, state: &State, role: Role) -> bool {
    let probe = spec.readiness.as_ref().map(|readiness| &readiness.probe);
    let (comes, step) = match role {
        Role::Readiness => (
            matches!(probe, Some(ReadinessProbe::Exec(_))),
            Step::Readiness,
        ),
        _ => (spec.wait.is_some(), Step::WaitCommand),
    };
    !comes || state.step > step
}
