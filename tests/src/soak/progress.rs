//! Phase of every task: lets kills wait for a phase, and lists unfinished tasks.

use super::plan::Phase;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};

/// Capacity for a lagging receiver; more than the number of phase changes in a second.
const CHANNEL_CAPACITY: usize = 1024;

/// Phases of all tasks.
#[derive(Debug)]
pub struct Progress {
    phases: Mutex<BTreeMap<String, Phase>>,
    changes: broadcast::Sender<Phase>,
    ended: watch::Sender<usize>,
}

impl Progress {
    /// All tasks are waiting.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let phases = names.map(|name| (name.to_owned(), Phase::Waiting));
        Self {
            phases: Mutex::new(phases.collect()),
            changes: broadcast::channel(CHANNEL_CAPACITY).0,
            ended: watch::channel(0).0,
        }
    }

    /// Records the observed phase of a task.
    pub fn enter(&self, name: &str, phase: Phase) {
        let before = self.lock().insert(name.to_owned(), phase);
        if before == Some(phase) {
            return;
        }
        // An error means that there is no receiver.
        let _ = self.changes.send(phase);
        if phase == Phase::Ended {
            self.ended.send_modify(|ended| *ended += 1);
        }
    }

    /// Number of tasks that have ended.
    pub fn ended(&self) -> usize {
        *self.ended.borrow()
    }

    /// Waits until `count` tasks have ended.
    pub async fn until_ended(&self, count: usize) {
        // An error means that the sender was dropped.
        let _ = self
            .ended
            .subscribe()
            .wait_for(|ended| *ended >= count)
            .await;
    }

    /// Waits until a task enters `phase`.
    pub async fn until_entered(&self, phase: Phase) {
        let mut changes = self.changes.subscribe();
        loop {
            match changes.recv().await {
                Ok(entered) if entered == phase => return,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Number of tasks by phase, without waiting and ended tasks.
    pub fn in_progress(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for phase in self.lock().values() {
            let name = match phase {
                Phase::Waiting | Phase::Ended => continue,
                Phase::In(step) => format!("{step:?}"),
                other => format!("{other:?}"),
            };
            *counts.entry(name).or_insert(0) += 1;
        }
        counts
    }

    /// The tasks that have not ended, with their phases.
    pub fn unfinished(&self) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|(_, phase)| **phase != Phase::Ended)
            .map(|(name, phase)| format!("{name}: {phase:?}"))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Phase>> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
