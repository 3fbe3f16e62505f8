//! Which containers there are, and what has become of them.

use super::Following;
use crate::logs::LogError;
use atq_engine::{Member, Role};
use atq_evidence::Source;
use atq_task::state::{State, Step};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What has become of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fate {
    /// It may write more.
    #[default]
    Runs,
    /// It has ended, or the engine has forgotten it.
    Ended,
    /// Its node is lost: the engine has nothing of it.
    Lost,
}

/// A container whose log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// The engine's id; none: there is only what was kept of it.
    pub task: Option<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether it was there when the following began.
    pub is_old: bool,
    /// What has become of it.
    pub fate: Fate,
}

/// What was seen until now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The run; none before the first look.
    pub state: Option<State>,
    /// Its containers.
    pub containers: BTreeMap<Source, Container>,
    /// Whether nothing can be added any more.
    pub is_over: bool,
}

impl Seen {
    /// What has become of a container.
    pub fn fate(&self, source: Source) -> Fate {
        let container = self.containers.get(&source);
        container.map_or(Fate::Ended, |container| container.fate)
    }

    fn saw(&mut self, logged: Vec<Member>, is_first: bool) {
        for (source, container) in &mut self.containers {
            let is_there = logged.iter().any(|logged| logged.source == *source);
            if !is_there && container.fate == Fate::Runs {
                container.fate = Fate::Ended;
            }
        }
        for logged in logged {
            let container = self.containers.entry(logged.source).or_default();
            container.fate = match (logged.has_ended(), logged.lost) {
                (true, _) => Fate::Ended,
                (false, true) => Fate::Lost,
                (false, false) => Fate::Runs,
            };
            container.task = Some(logged.id);
            container.tty = logged.tty;
            container.is_old |= is_first;
        }
    }

    fn kept(&mut self, source: Source, is_first: bool) {
        self.containers.entry(source).or_insert(Container {
            is_old: is_first,
            fate: Fate::Ended,
            ..Container::default()
        });
    }
}

impl Following {
    /// Looks again and again. Comes back only with an error.
    pub(super) async fn watch(&self, seen: &watch::Sender<Seen>) -> LogError {
        let mut changes = self.it.shared.store.watch(&self.view.spec.name);
        let mut is_first = true;
        loop {
            changes.borrow_and_update();
            let mut next = seen.borrow().clone();
            match self.look(&mut next, is_first).await {
                Ok(()) => is_first = false,
                Err(LogError::Engine(error)) if error.is_temporary() => {
                    tracing::debug!(task = %self.view.spec.name, %error, "cannot look at containers; trying again");
                }
                Err(error) => return error,
            }
            seen.send_if_modified(|present| {
                let is_new = *present != next;
                *present = next;
                is_new
            });
            // Woken by the next event, or when it is time.
            let _ = timeout(PAUSE, changes.changed()).await;
        }
    }

    async fn look(&self, seen: &mut Seen, is_first: bool) -> Result<(), LogError> {
        let state = self.state()?;
        let step = state.as_ref().map_or(Step::Done, |state| state.step);
        let is_over = step >= Step::Cleanup;
        if !is_over && step >= Step::Discovery {
            let engine = &self.it.shared.engine;
            let mut logged = engine.logged(self.view.facts()).await?;
            logged.retain(|logged| self.filter.wants(logged.source));
            seen.saw(logged, is_first);
        }
        if is_over {
            seen.saw(Vec::new(), is_first);
        }
        self.look_at_evidence(seen, is_over, is_first).await?;
        (seen.state, seen.is_over) = (state, is_over);
        Ok(())
    }

    /// Commands come and go between two looks, and what they wrote is kept at once. Of the others,
    /// what is kept is all there is once they cannot be seen any more.
    async fn look_at_evidence(
        &self,
        seen: &mut Seen,
        is_over: bool,
        is_first: bool,
    ) -> Result<(), LogError> {
        let evidence = &self.it.shared.evidence;
        let (name, run) = (&self.view.spec.name, &self.view.state.run);
        for source in evidence.logs(name, run).await? {
            let is_command = [Role::Wait, Role::Readiness].contains(&source.role);
            if (is_over || is_command) && self.filter.wants(source) {
                seen.kept(source, is_first);
            }
        }
        Ok(())
    }
}
