//! Observes the containers of a run and their status.

use super::Following;
use crate::logs::LogError;
use atq_engine::{Member, Role};
use atq_evidence::Source;
use atq_task::state::{State, Step};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The status of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerStatus {
    /// It may write further lines.
    #[default]
    Running,
    /// It has ended, or the engine does not list it any more.
    Ended,
    /// Its node is lost and its log is unavailable.
    Lost,
}

/// A container whose log is selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// The engine's id; `None` if only its stored log is available.
    pub id: Option<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether it existed when the following began.
    pub is_old: bool,
    /// Its status.
    pub status: ContainerStatus,
}

/// The observed state of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The state of the run; `None` before the first observation.
    pub state: Option<State>,
    /// Its containers.
    pub containers: BTreeMap<Source, Container>,
    /// Whether no further container can appear.
    pub is_over: bool,
}

impl Snapshot {
    /// The status of a container.
    pub fn status(&self, source: Source) -> ContainerStatus {
        let container = self.containers.get(&source);
        container.map_or(ContainerStatus::Ended, |container| container.status)
    }

    fn update(&mut self, logged: Vec<Member>, is_first: bool) {
        for (source, container) in &mut self.containers {
            let is_there = logged.iter().any(|logged| logged.source == *source);
            if !is_there && container.status == ContainerStatus::Running {
                container.status = ContainerStatus::Ended;
            }
        }
        for logged in logged {
            let container = self.containers.entry(logged.source).or_default();
            container.status = match (logged.has_ended(), logged.lost) {
                (true, _) => ContainerStatus::Ended,
                (false, true) => ContainerStatus::Lost,
                (false, false) => ContainerStatus::Running,
            };
            container.id = Some(logged.id);
            container.tty = logged.tty;
            container.is_old |= is_first;
        }
    }

    fn add_stored(&mut self, source: Source, is_first: bool) {
        self.containers.entry(source).or_insert(Container {
            is_old: is_first,
            status: ContainerStatus::Ended,
            ..Container::default()
        });
    }
}

impl Following {
    /// Observes the containers periodically. Returns only with an error.
    pub(super) async fn watch(&self, snapshots: &watch::Sender<Snapshot>) -> LogError {
        let mut changes = self.orchestrator.shared.store.watch(&self.view.spec.name);
        let mut is_first = true;
        loop {
            changes.borrow_and_update();
            let mut next = snapshots.borrow().clone();
            match self.observe(&mut next, is_first).await {
                Ok(()) => is_first = false,
                Err(LogError::Engine(error)) if error.is_temporary() => {
                    tracing::debug!(task = %self.view.spec.name, %error, "cannot list containers; retrying");
                }
                Err(error) => return error,
            }
            snapshots.send_if_modified(|current| {
                let is_modified = *current != next;
                *current = next;
                is_modified
            });
            // The next event wakes it early.
            let _ = timeout(POLL_INTERVAL, changes.changed()).await;
        }
    }

    async fn observe(&self, snapshot: &mut Snapshot, is_first: bool) -> Result<(), LogError> {
        let state = self.state()?;
        let step = state.as_ref().map_or(Step::Done, |state| state.step);
        let is_over = step >= Step::Cleanup;
        if !is_over && step >= Step::Discovery {
            let engine = &self.orchestrator.shared.engine;
            let mut logged = engine.logged(self.view.facts()).await?;
            logged.retain(|logged| self.filter.wants(logged.source));
            snapshot.update(logged, is_first);
        }
        if is_over {
            snapshot.update(Vec::new(), is_first);
        }
        self.add_stored_logs(snapshot, is_over, is_first).await?;
        (snapshot.state, snapshot.is_over) = (state, is_over);
        Ok(())
    }

    /// Adds containers with stored logs. Commands may start and end between two observations; their logs are stored at
    /// once. Logs of other containers are added after the engine has removed them.
    async fn add_stored_logs(
        &self,
        snapshot: &mut Snapshot,
        is_over: bool,
        is_first: bool,
    ) -> Result<(), LogError> {
        let evidence = &self.orchestrator.shared.evidence;
        let (name, run) = (&self.view.spec.name, &self.view.state.run);
        for source in evidence.logs(name, run).await? {
            let is_command = [Role::Wait, Role::Readiness].contains(&source.role);
            if (is_over || is_command) && self.filter.wants(source) {
                snapshot.add_stored(source, is_first);
            }
        }
        Ok(())
    }
}
