//! Counts stored tasks and measures the disk. This takes time, so a scrape gets the last values and renews them at
//! intervals; without scrapes nothing is counted.

use super::calls::EngineMetrics;
use super::gauges::Gauges;
use super::runs::TaskState;
use atq_bundle_store::BundleError;
use atq_run::Orchestrator;
use atq_store::StoreError;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use std::fmt::{self, Display};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Minimum interval between the end of a count and the next one.
const MIN_INTERVAL: Duration = Duration::from_secs(15);
/// A slow count is made less often: at most a twentieth of the time.
const DURATION_FACTOR: u32 = 20;
/// Time for which a scrape waits for new values.
const WAIT: Duration = Duration::from_secs(1);
/// Minimum age of the list of nodes, and of the last request for one, before the engine is asked for its nodes.
const NODES_AGE: Duration = Duration::from_secs(60);

/// Counts at intervals.
pub(super) struct Census {
    orchestrator: Orchestrator,
    engine: EngineMetrics,
    counts: Mutex<Counts>,
    /// Time of the next count.
    due: Mutex<Instant>,
    is_counting: watch::Sender<bool>,
    /// Time of the last request for a list of nodes.
    nodes_asked: Mutex<Option<Instant>>,
}

/// The last values; a value that could not be determined is absent.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    tasks: Option<Tasks>,
    store_bytes: Option<u64>,
    bundles: Option<Bundles>,
    evidence_bytes: Option<u64>,
}

/// The stored tasks.
#[derive(Debug, Clone, Copy, Default)]
struct Tasks {
    stored: u64,
    /// Readable tasks, by the index of their state.
    by_state: [u64; TaskState::ALL.len()],
}

/// The uploaded bundles.
#[derive(Debug, Clone, Copy, Default)]
struct Bundles {
    number: u64,
    zip_bytes: u64,
    unpacked_bytes: u64,
}

impl Census {
    pub(super) fn new(orchestrator: Orchestrator, engine: EngineMetrics) -> Self {
        Self {
            orchestrator,
            engine,
            counts: Mutex::default(),
            due: Mutex::new(Instant::now()),
            is_counting: watch::Sender::new(false),
            nodes_asked: Mutex::default(),
        }
    }

    /// Renews the values if they are due. Waits only briefly: a slow count continues in the background.
    pub(super) async fn renew(self: &Arc<Self>) {
        self.list_nodes();
        let is_due = *self.due.lock() <= Instant::now();
        let begins = |is_counting: &mut bool| is_due && !std::mem::replace(is_counting, true);
        if self.is_counting.send_if_modified(begins) {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                // The next scrape may count, even if this one panics.
                let _ended = Ended(&this);
                this.count().await;
            });
        }
        let mut is_counting = self.is_counting.subscribe();
        let counted = is_counting.wait_for(|is_counting| !is_counting);
        // After the timeout, the last values are shown.
        let _ = timeout(WAIT, counted).await;
    }

    async fn count(&self) {
        let started = Instant::now();
        let counts = Counts {
            tasks: or_log("the tasks", self.tasks().await),
            store_bytes: or_log("the store", self.store_bytes().await),
            bundles: or_log("the bundles", self.bundles().await),
            evidence_bytes: or_log("the evidence", self.evidence_bytes().await),
        };
        *self.counts.lock() = counts;
        *self.due.lock() = Instant::now() + pause_after(started.elapsed());
    }

    async fn tasks(&self) -> Result<Tasks, StoreError> {
        let store = &self.orchestrator.shared().store;
        let counted = store.reading(|store| {
            let mut tasks = Tasks::default();
            store.each_state(|_, task| {
                tasks.by_state[TaskState::of(&task.state) as usize] += 1;
            })?;
            tasks.stored = store.names()?.len() as u64;
            Ok(tasks)
        });
        counted.await
    }

    async fn store_bytes(&self) -> Result<u64, StoreError> {
        let store = &self.orchestrator.shared().store;
        store.reading(|store| store.disk_bytes()).await
    }

    async fn bundles(&self) -> Result<Bundles, BundleError> {
        let listed = self.orchestrator.shared().bundles.list().await?;
        let mut bundles = Bundles::default();
        for bundle in listed {
            bundles.number += 1;
            bundles.zip_bytes += bundle.zip_bytes.unwrap_or(0);
            bundles.unpacked_bytes += bundle.unpacked_bytes;
        }
        Ok(bundles)
    }

    async fn evidence_bytes(&self) -> io::Result<u64> {
        let evidence = self.orchestrator.shared().evidence.clone();
        let tasks = evidence.tasks().await?;
        let sum = move || tasks.iter().map(|task| evidence.size(task)).sum();
        let summed = tokio::task::spawn_blocking(sum).await;
        summed.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Asks the engine for its nodes in the background, if no run has listed them for a while.
    fn list_nodes(&self) {
        let shared = self.orchestrator.shared();
        if !self.engine.nodes_are_older_than(NODES_AGE) || shared.health.usable().is_err() {
            return;
        }
        let mut asked = self.nodes_asked.lock();
        if asked.is_some_and(|at| at.elapsed() < NODES_AGE) {
            return;
        }
        *asked = Some(Instant::now());
        let engine = Arc::clone(&shared.engine);
        tokio::spawn(async move {
            // The observer of the engine notes the list, and counts a failure.
            let _ = engine.nodes().await;
        });
    }
}

/// The pause after a count that took this time.
fn pause_after(duration: Duration) -> Duration {
    duration.saturating_mul(DURATION_FACTOR).max(MIN_INTERVAL)
}

/// Notes the end of a count when it is dropped.
struct Ended<'a>(&'a Census);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.is_counting.send_replace(false);
    }
}

fn or_log<T, E: Display>(what: &str, result: Result<T, E>) -> Option<T> {
    result
        .inspect_err(|error| tracing::warn!(%error, "metrics: cannot count {what}"))
        .ok()
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census").finish_non_exhaustive()
    }
}

impl Collector for Census {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauges = Gauges::new(encoder);
        let shared = self.orchestrator.shared();
        let waiting = shared.queue.waiting() as u64;
        gauges.single("queue_length", "Tasks in the queue", None, waiting)?;
        let is_up = u64::from(shared.health.usable().is_ok());
        let help = "Whether the container engine is usable";
        gauges.single("engine_up", help, None, is_up)?;
        self.engine.encode_nodes(&mut gauges)?;
        let counts = *self.counts.lock();
        encode_counts(&counts, &mut gauges)
    }
}

fn encode_counts(counts: &Counts, gauges: &mut Gauges<'_>) -> fmt::Result {
    let bytes = Some(&Unit::Bytes);
    if let Some(tasks) = counts.tasks {
        let states = TaskState::ALL.map(|state| [state.label()]);
        let rows = states.into_iter().zip(tasks.by_state);
        gauges.labelled("tasks", "Readable tasks by state", None, rows)?;
        gauges.single("store_tasks", "Tasks in the store", None, tasks.stored)?;
    }
    if let Some(size) = counts.store_bytes {
        gauges.single("store", "Size of the store on the disk", bytes, size)?;
    }
    if let Some(bundles) = counts.bundles {
        gauges.single("bundles", "Uploaded bundles", None, bundles.number)?;
        let rows = [
            ([("form", "zip")], bundles.zip_bytes),
            ([("form", "unpacked")], bundles.unpacked_bytes),
        ];
        gauges.labelled("bundles", "Size of the uploaded bundles", bytes, rows)?;
    }
    if let Some(size) = counts.evidence_bytes {
        let help = "Size of the kept logs, results and reports";
        gauges.single("evidence", help, bytes, size)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_count_is_made_less_often() {
        for (millis, seconds) in [(0, 15), (750, 15), (1_000, 20), (60_000, 1_200)] {
            let pause = pause_after(Duration::from_millis(millis));
            assert_eq!(pause, Duration::from_secs(seconds));
        }
    }
}
