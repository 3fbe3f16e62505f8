//! The state of a task and the figures of its test for the API.

use crate::live::{ContainerUsage, LiveRun, Snapshot};
use crate::{Orchestrator, View};
use atq_engine::Source;
use atq_store::{Store, StoreError};
use atq_task::spec::TaskName;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Interval of updates.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time for which an update waits for the next snapshot: decoding may take longer than a second.
const MAX_INTERVAL: Duration = Duration::from_millis(1500);

/// The state of a task at a moment of its test.
#[derive(Debug, Clone)]
pub struct LiveUpdate {
    /// The task.
    pub view: View,
    /// The figures; `None` before the test runs, and when the report has them.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The resource usage of the running containers.
    pub usage: Vec<(Source, ContainerUsage)>,
    /// Maximum duration of the test.
    pub max_duration: Duration,
}

impl LiveUpdate {
    /// Whether the run has ended and its report is stored.
    pub fn is_final(&self) -> bool {
        self.view.is_reported()
    }
}

/// An item of a stream of updates.
#[derive(Debug, Clone)]
pub enum TaskUpdate {
    /// The state at a moment.
    Live(Box<LiveUpdate>),
    /// The task was deleted.
    Deleted,
}

/// A subscription to the updates of a run.
struct Follower {
    orchestrator: Orchestrator,
    name: TaskName,
    run: String,
    changes: watch::Receiver<()>,
    closing: watch::Receiver<bool>,
    snapshots: Option<watch::Receiver<Arc<Snapshot>>>,
    /// The time of the last update.
    last: Option<Instant>,
}

impl Orchestrator {
    /// The figures and the resource usage of a task with a driver.
    pub fn live(&self, name: &TaskName) -> Option<Arc<LiveRun>> {
        let active = self.active.lock();
        active.get(name).map(|active| Arc::clone(&active.live))
    }

    /// The names of the tasks whose result files are followed, sorted.
    pub fn running_tests(&self) -> Vec<TaskName> {
        let active = self.active.lock();
        let running = active
            .iter()
            .filter(|(_, active)| active.live.results().is_some());
        let mut names: Vec<TaskName> = running.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// The current state of a task and the figures of its test; `None` without such a task.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn live_update(&self, name: &TaskName) -> Result<Option<LiveUpdate>, StoreError> {
        let snapshot = match self.live(name).and_then(|live| live.results()) {
            Some(results) => Some(results.snapshot().await),
            None => None,
        };
        self.update(name, snapshot).await
    }

    async fn update(
        &self,
        name: &TaskName,
        snapshot: Option<Arc<Snapshot>>,
    ) -> Result<Option<LiveUpdate>, StoreError> {
        let read = self.shared.store.read_task(name, Store::load_brief);
        let Some(stored) = read.await? else {
            return Ok(None);
        };
        let view = self.view(stored);
        let usage = self.live(name).map(|live| live.usage(view.now));
        let max_duration = view.spec.max_duration.map(Duration::from_secs);
        Ok(Some(LiveUpdate {
            // The report may have been stored since the snapshot was taken.
            snapshot: snapshot.filter(|_| !view.is_reported()),
            usage: usage.unwrap_or_default(),
            max_duration: max_duration.unwrap_or(self.shared.settings.max_duration),
            view,
        }))
    }

    /// The state of the run `run` of a task, at once and then about once a second. Ends after the final one, or when the
    /// task is deleted or the process shuts down.
    pub fn follow_live(
        &self,
        name: &TaskName,
        run: &str,
    ) -> BoxStream<'static, Result<TaskUpdate, StoreError>> {
        let follower = Follower {
            orchestrator: self.clone(),
            name: name.clone(),
            run: run.to_owned(),
            changes: self.shared.store.watch(name),
            closing: self.closing.subscribe(),
            snapshots: None,
            last: None,
        };
        let updates = stream::try_unfold(Some(follower), |follower| async {
            match follower {
                Some(follower) => follower.next().await,
                None => Ok(None),
            }
        });
        updates.boxed()
    }
}

impl Follower {
    /// The next update and the subscription for later ones; `None` for the latter if it was the last.
    async fn next(mut self) -> Result<Option<(TaskUpdate, Option<Self>)>, StoreError> {
        let mut closing = self.closing.clone();
        tokio::select! {
            waited = self.wait() => waited?,
            _ = closing.wait_for(|closing| *closing) => return Ok(None),
        }
        self.last = Some(Instant::now());
        let snapshot = self
            .snapshots
            .as_mut()
            .map(|one| Arc::clone(&one.borrow_and_update()));
        let update = self.orchestrator.update(&self.name, snapshot).await?;
        Ok(Some(
            match update.filter(|update| update.view.state.run == self.run) {
                None => (TaskUpdate::Deleted, None),
                Some(update) => {
                    let is_final = update.is_final();
                    let update = TaskUpdate::Live(Box::new(update));
                    (update, (!is_final).then_some(self))
                }
            },
        ))
    }

    /// Waits for the time of the next update: the next snapshot, or a second; less for the final state.
    async fn wait(&mut self) -> Result<(), StoreError> {
        let Some(last) = self.last else {
            return self.wait_for_first().await;
        };
        loop {
            self.subscribe();
            let until = match self.snapshots {
                Some(_) => last + MAX_INTERVAL,
                None => last + INTERVAL,
            };
            tokio::select! {
                () = changed(&mut self.snapshots) => return Ok(()),
                () = sleep_until(until) => return Ok(()),
                // An error means that there are no further changes.
                Ok(()) = self.changes.changed() => {
                    if self.is_over().await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The first update has a current snapshot.
    async fn wait_for_first(&mut self) -> Result<(), StoreError> {
        self.subscribe();
        if let Some(results) = self
            .orchestrator
            .live(&self.name)
            .and_then(|live| live.results())
        {
            results.snapshot().await;
        }
        Ok(())
    }

    /// Follows the snapshots of the test while it runs.
    fn subscribe(&mut self) {
        let results = self
            .orchestrator
            .live(&self.name)
            .and_then(|live| live.results());
        self.snapshots = match (self.snapshots.take(), results) {
            (Some(snapshots), Some(_)) => Some(snapshots),
            (None, Some(results)) => Some(results.subscribe()),
            (_, None) => None,
        };
    }

    /// Whether the task is deleted, or its report is stored.
    async fn is_over(&self) -> Result<bool, StoreError> {
        let store = &self.orchestrator.shared.store;
        let read = store.read_task(&self.name, Store::load_state).await?;
        let found = read.filter(|found| found.state.run == self.run);
        Ok(found.is_none_or(|found| found.state.is_reported()))
    }
}

async fn changed(snapshots: &mut Option<watch::Receiver<Arc<Snapshot>>>) {
    let Some(snapshots) = snapshots else {
        return std::future::pending().await;
    };
    if snapshots.changed().await.is_err() {
        // The test has ended.
        std::future::pending::<()>().await;
    }
}
