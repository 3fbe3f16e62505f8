//! Removes old data: completed tasks with their evidence, and bundles that no task uses. As with DELETE, the record of
//! a task is removed before its evidence. Evidence without a record, after a crash in between, is removed at the next
//! start ([`super::orphans`]).

use super::Orchestrator;
use atq_bundle_store::BundleInfo;
use atq_store::StoreError;
use atq_task::spec::TaskName;
use atq_task::timestamp::Timestamp;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

const CHECK_INTERVAL: Duration = Duration::from_secs(600);

/// Limits of retained data. `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Number of completed tasks.
    pub tasks: Option<u64>,
    /// Time since the end of a task.
    pub task_age: Option<Duration>,
    /// Bytes of the evidence of completed tasks.
    pub evidence_bytes: Option<u64>,
    /// Time since the last upload of a bundle that no task uses.
    pub bundle_age: Option<Duration>,
}

/// A completed task without leftovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTask {
    /// The task.
    pub name: TaskName,
    /// Its run.
    pub run: String,
    /// End of the task.
    pub at: Timestamp,
    /// Bytes of its evidence.
    pub bytes: u64,
}

/// The reason for a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// Older than this.
    Age(Duration),
    /// Not among this number of newest tasks.
    Number(u64),
    /// Together with newer tasks, it exceeds this number of bytes.
    Size(u64),
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age(age) => write!(f, "older than {} s", age.as_secs()),
            Self::Number(number) => write!(f, "not one of the newest {number}"),
            Self::Size(bytes) => write!(f, "beyond {bytes} bytes of evidence"),
        }
    }
}

/// The tasks to remove, oldest first. The size limit also removes the oldest tasks first: a small old task does not
/// outlive a large new one.
pub fn expired(
    tasks: &[EndedTask],
    policy: &Policy,
    now: Timestamp,
) -> Vec<(EndedTask, RemovalReason)> {
    let mut newest: Vec<&EndedTask> = tasks.iter().collect();
    newest.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.name.cmp(&b.name)));
    let mut gone = Vec::new();
    let mut bytes = 0_u64;
    let mut is_full = false;
    for (number, task) in (1_u64..).zip(newest) {
        bytes = bytes.saturating_add(task.bytes);
        let max_bytes = policy.evidence_bytes.unwrap_or(u64::MAX);
        is_full |= bytes > max_bytes;
        let too_old = policy.task_age.filter(|age| now.since(task.at) > *age);
        let too_many = policy.tasks.filter(|tasks| number > *tasks);
        // The newest task is always kept: its user had no time to fetch it.
        let too_large = (is_full && number > 1).then_some(max_bytes);
        let reason = too_old
            .map(RemovalReason::Age)
            .or(too_many.map(RemovalReason::Number))
            .or(too_large.map(RemovalReason::Size));
        gone.extend(reason.map(|reason| (task.clone(), reason)));
    }
    gone.reverse();
    gone
}

/// The bundles to remove: no task uses them, and their last upload is older than the limit.
pub fn unused<'a>(
    bundles: &'a [BundleInfo],
    named: &HashSet<String>,
    policy: &Policy,
    now: Timestamp,
) -> Vec<(&'a BundleInfo, RemovalReason)> {
    let Some(age) = policy.bundle_age else {
        return Vec::new();
    };
    let is_old = |bundle: &&BundleInfo| now.since(Timestamp::from(bundle.created)) > age;
    bundles
        .iter()
        .filter(|bundle| !named.contains(bundle.id.as_str()))
        .filter(is_old)
        .map(|bundle| (bundle, RemovalReason::Age(age)))
        .collect()
}

impl Orchestrator {
    /// Removes data beyond the limits, now and every ten minutes. Never returns.
    pub async fn retain(self, policy: Policy) {
        loop {
            self.retain_once(&policy).await;
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    /// Removes data beyond the limits once. Failed removals are retried the next time.
    pub async fn retain_once(&self, policy: &Policy) {
        if let Err(error) = self.remove_tasks(policy).await {
            tracing::error!(%error, "retention: tasks cannot be removed");
        }
        if let Err(error) = self.remove_bundles(policy).await {
            tracing::error!(%error, "retention: bundles cannot be removed");
        }
    }

    async fn remove_tasks(&self, policy: &Policy) -> anyhow::Result<()> {
        let this = self.clone();
        let tasks = tokio::task::spawn_blocking(move || this.ended_tasks()).await??;
        for (task, reason) in expired(&tasks, policy, self.shared.clock.now()) {
            let (name, run) = (&task.name, &task.run);
            if self.shared.store.remove_ended(name, run).await? {
                self.shared.evidence.remove_run(name, run).await?;
                tracing::info!(task = %name, %reason, bytes = task.bytes, "retention: task removed");
            }
        }
        Ok(())
    }

    /// Blocks.
    fn ended_tasks(&self) -> anyhow::Result<Vec<EndedTask>> {
        let mut ended = Vec::new();
        self.shared.store.each_state(|name, task| {
            let state = task.state;
            if state.is_done() && state.leftovers.is_empty() {
                ended.push(EndedTask {
                    bytes: 0,
                    name: name.clone(),
                    run: state.run,
                    at: state.finished_at.unwrap_or(state.created_at),
                });
            }
        })?;
        for task in &mut ended {
            task.bytes = self.shared.evidence.size(&task.name)?;
        }
        Ok(ended)
    }

    async fn remove_bundles(&self, policy: &Policy) -> anyhow::Result<()> {
        if policy.bundle_age.is_none() {
            return Ok(());
        }
        // The description has the date of the first upload, the disk that of the last one. Bundles are listed before
        // tasks, so that a task that arrives in between is considered.
        let bundles = self.shared.bundles.list().await?.into_iter();
        let bundles: Vec<BundleInfo> = bundles
            .filter_map(|bundle| {
                let last = self.shared.bundles.uploaded_at(&bundle.id)?.into();
                let created = bundle.created.max(last);
                Some(BundleInfo { created, ..bundle })
            })
            .collect();
        let this = self.clone();
        let Some(named) = tokio::task::spawn_blocking(move || this.named_bundles()).await?? else {
            return Ok(());
        };
        for (bundle, reason) in unused(&bundles, &named, policy, self.shared.clock.now()) {
            let bytes = bundle.unpacked_bytes;
            match self.remove_bundle(&bundle.id).await {
                Ok(()) => {
                    tracing::info!(bundle = %bundle.id, %reason, bytes, "retention: bundle removed");
                }
                // Volumes on unreachable nodes are removed after the nodes reconnect.
                Err(error) => {
                    tracing::warn!(bundle = %bundle.id, %reason, %error, "retention: bundle not removed everywhere");
                }
            }
        }
        Ok(())
    }

    /// The bundles that tasks use; `None` if there is a damaged task, which may use any of them. Blocks.
    fn named_bundles(&self) -> Result<Option<HashSet<String>>, StoreError> {
        let (mut named, mut readable) = (HashSet::new(), 0);
        self.shared.store.each_brief(|task| {
            readable += 1;
            named.extend([task.spec.master.fileid, task.spec.worker.fileid]);
        })?;
        let all = self.shared.store.names()?.len();
        let named = named.into_iter().flatten().collect();
        Ok((all <= readable).then_some(named))
    }
}

#[cfg(test)]
mod tests;
