//! Recovery at start: every incomplete task gets a driver, in the order of arrival. Steps are idempotent, so tasks may
//! have been interrupted at any point.

use super::Orchestrator;
use atq_store::{Damage, Store, StoreError, StoredState};
use atq_task::spec::TaskName;
use atq_task::state::Step;
use atq_task::timestamp::Timestamp;
use std::time::Duration;

/// Interval of retries for objects that clean-up has left.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);
const DAMAGED_HINT: &str = "`atq-director store check` shows details while no Director runs; DELETE removes the task with all its objects";

impl Orchestrator {
    /// Resumes all incomplete tasks and returns their number. Damaged tasks are logged and skipped.
    ///
    /// # Errors
    /// When the tasks cannot be listed.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        let resumed = self.resume_all().await;
        // Definitions accepted before this wait behind earlier tasks and cannot take their claims. The queue opens even
        // if earlier tasks cannot be read.
        self.shared.queue.open();
        resumed
    }

    async fn resume_all(&self) -> Result<usize, StoreError> {
        let repaired = self.shared.store.reading(|store| {
            for Damage { task, reason } in store.repair()? {
                tracing::error!(%task, %reason, "a stored task is damaged and not resumed; {DAMAGED_HINT}");
            }
            open_tasks(store)
        });
        let mut open = repaired.await?;
        // Running tasks first, so that no waiting task takes their slots or claims.
        open.sort_by_key(|task| (task.step == Step::Queued, task.created_at));
        for OpenTask { name, step, .. } in &open {
            tracing::info!(task = %name, step = step.as_str(), "resuming an earlier task");
            self.drive_or_log(name);
        }
        Ok(open.len())
    }

    /// Periodically starts drivers for tasks that need one and have none, above all for those with leftovers. Never
    /// returns.
    pub async fn sweep(self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            match self.shared.store.reading(open_tasks).await {
                Ok(open) => open.iter().for_each(|task| self.drive_or_log(&task.name)),
                Err(error) => {
                    tracing::error!(%error, "cannot search for tasks with leftovers");
                }
            }
        }
    }

    /// A task whose driver cannot start must not block the others.
    fn drive_or_log(&self, name: &TaskName) {
        if let Err(error) = self.drive(name) {
            tracing::error!(task = %name, %error, "the task cannot be resumed");
        }
    }
}

/// An incomplete task.
struct OpenTask {
    name: TaskName,
    step: Step,
    created_at: Timestamp,
}

fn open_tasks(store: &Store) -> Result<Vec<OpenTask>, StoreError> {
    let mut open = Vec::new();
    store.each_state(|name, task| {
        if is_open(&task) {
            open.push(OpenTask {
                name: name.clone(),
                step: task.state.step,
                created_at: task.state.created_at,
            });
        }
    })?;
    Ok(open)
}

fn is_open(task: &StoredState) -> bool {
    !task.state.is_done() || task.desired.is_deleted() || !task.state.leftovers.is_empty()
}
