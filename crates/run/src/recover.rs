//! What happens at start: every task that is not at its end gets a driver again, in the order in
//! which they came. Their steps are idempotent, so it does not matter where they were cut off.

use super::Orchestrator;
use atq_store::{Damage, Standing, Store, StoreError};
use atq_task::spec::TaskName;
use atq_task::state::Step;
use atq_task::timestamp::Timestamp;
use std::time::Duration;

/// Time between two tries at what clean-up has left.
const SWEEP: Duration = Duration::from_secs(300);
const WAY_OUT: &str = "`atq-director store check` says more while no Director runs, DELETE removes the task with all its objects";

impl Orchestrator {
    /// Takes up all tasks that are not at their end; gives their number. Those that are damaged are
    /// named in the log and left alone.
    ///
    /// # Errors
    /// When the tasks cannot be listed.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        let taken_up = self.take_up().await;
        // Definitions are taken before this, but nobody passes an earlier task or takes its claim. New
        // ones must get their turn also when the earlier ones cannot be read.
        self.shared.queue.open();
        taken_up
    }

    async fn take_up(&self) -> Result<usize, StoreError> {
        let repaired = self.shared.store.reading(|store| {
            for Damage { task, reason } in store.repair()? {
                tracing::error!(%task, %reason, "a stored task is damaged and not taken up; {WAY_OUT}");
            }
            open_tasks(store)
        });
        let mut open = repaired.await?;
        // Those that are under way first, so that none that waits takes their place or their claim.
        open.sort_by_key(|task| (task.step == Step::Queued, task.created_at));
        for OpenTask { name, step, .. } in &open {
            tracing::info!(task = %name, step = step.as_str(), "taking up an earlier task");
            self.drive_or_say(name);
        }
        Ok(open.len())
    }

    /// Gives a driver again and again to tasks that need one and have none: above all those of which
    /// clean-up has left something. Never returns.
    pub async fn sweep(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            match self.shared.store.reading(open_tasks).await {
                Ok(open) => open.iter().for_each(|task| self.drive_or_say(&task.name)),
                Err(error) => {
                    tracing::error!(%error, "cannot look for what clean-up has left");
                }
            }
        }
    }

    /// One task that cannot be driven must not hold up the others.
    fn drive_or_say(&self, name: &TaskName) {
        if let Err(error) = self.drive(name) {
            tracing::error!(task = %name, %error, "the task cannot be taken up");
        }
    }
}

/// A task that is not at its end.
struct OpenTask {
    name: TaskName,
    step: Step,
    created_at: Timestamp,
}

fn open_tasks(store: &Store) -> Result<Vec<OpenTask>, StoreError> {
    let mut open = Vec::new();
    store.each_standing(|name, standing| {
        if is_open(&standing) {
            open.push(OpenTask {
                name: name.clone(),
                step: standing.state.step,
                created_at: standing.state.created_at,
            });
        }
    })?;
    Ok(open)
}

fn is_open(task: &Standing) -> bool {
    !task.state.is_done() || task.desired.is_deleted() || !task.state.leftovers.is_empty()
}
