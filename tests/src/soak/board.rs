//! Where every task is, for those who wait for a moment and for those who ask what is missing.

use super::plan::Phase;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};

/// So many moves may be missed by somebody who waits for one; more than there are in a second.
const MOVES: usize = 1024;

/// The board.
#[derive(Debug)]
pub struct Board {
    phases: Mutex<BTreeMap<String, Phase>>,
    moves: broadcast::Sender<Phase>,
    ended: watch::Sender<usize>,
}

impl Board {
    /// A board on which nobody has begun.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let phases = names.map(|name| (name.to_owned(), Phase::Waiting));
        Self {
            phases: Mutex::new(phases.collect()),
            moves: broadcast::channel(MOVES).0,
            ended: watch::channel(0).0,
        }
    }

    /// Notes where a task is seen.
    pub fn enter(&self, name: &str, phase: Phase) {
        let before = self.lock().insert(name.to_owned(), phase);
        if before == Some(phase) {
            return;
        }
        // Nobody may be waiting.
        let _ = self.moves.send(phase);
        if phase == Phase::Ended {
            self.ended.send_modify(|ended| *ended += 1);
        }
    }

    /// Number of tasks that have ended.
    pub fn ended(&self) -> usize {
        *self.ended.borrow()
    }

    /// Waits until so many have ended.
    pub async fn until_ended(&self, count: usize) {
        // An error means that the board is gone, and with it who waits.
        let _ = self
            .ended
            .subscribe()
            .wait_for(|ended| *ended >= count)
            .await;
    }

    /// Waits until a task enters `phase`.
    pub async fn until_entered(&self, phase: Phase) {
        let mut moves = self.moves.subscribe();
        loop {
            match moves.recv().await {
                Ok(entered) if entered == phase => return,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// How many tasks are in which phase, without those that have not begun or have ended.
    pub fn under_way(&self) -> BTreeMap<String, usize> {
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

    /// The tasks that have not ended, and where they are.
    pub fn missing(&self) -> Vec<String> {
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
