//! Calls of the container engine, and its nodes as it has last listed them.

use super::gauges::Gauges;
use super::{Histograms, Label};
use atq_engine::{EngineObserver, Node};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Upper bounds of the histogram in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The counters of calls. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct EngineMetrics {
    calls: Family<[Label; 2], Counter>,
    durations: Histograms<[Label; 1]>,
    nodes: Arc<Mutex<Option<ListedNodes>>>,
}

/// A list of nodes.
#[derive(Debug, Clone, Copy)]
struct ListedNodes {
    /// Number of nodes by `ready` and `active`.
    counts: [[u64; 2]; 2],
    time: SystemTime,
    instant: Instant,
}

impl Default for EngineMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            nodes: Arc::default(),
        }
    }
}

impl EngineMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "engine_calls",
            "Calls of the container engine by name and result",
            self.calls.clone(),
        );
        registry.register_with_unit(
            "engine_call_duration",
            "Time until the answer of the container engine, or the beginning of a stream",
            Unit::Seconds,
            self.durations.clone(),
        );
    }

    /// Whether the last list of nodes is older than this.
    pub(super) fn nodes_are_older_than(&self, age: Duration) -> bool {
        let listed = *self.nodes.lock();
        listed.is_none_or(|listed| listed.instant.elapsed() >= age)
    }

    /// Writes the nodes, if they have been listed.
    pub(super) fn encode_nodes(&self, gauges: &mut Gauges<'_>) -> fmt::Result {
        let Some(listed) = *self.nodes.lock() else {
            return Ok(());
        };
        let states = [("state", "down"), ("state", "ready")];
        let availabilities = [("availability", "inactive"), ("availability", "active")];
        let rows = states
            .into_iter()
            .zip(listed.counts)
            .flat_map(|(state, counts)| {
                let pairs = availabilities.into_iter().zip(counts);
                pairs.map(move |(availability, count)| ([state, availability], count))
            });
        gauges.labelled("nodes", "Nodes of the container engine", None, rows)?;
        let since = listed.time.duration_since(SystemTime::UNIX_EPOCH);
        gauges.single(
            "nodes_seen_timestamp",
            "Time of the last list of nodes since the Unix epoch",
            Some(&Unit::Seconds),
            since.unwrap_or_default().as_secs_f64(),
        )
    }
}

impl EngineObserver for EngineMetrics {
    fn called(&self, call: &'static str, result: &'static str, duration: Duration) {
        let (call, result) = (("call", call), ("result", result));
        self.calls.get_or_create(&[call, result]).inc();
        let histogram = self.durations.get_or_create(&[call]);
        histogram.observe(duration.as_secs_f64());
    }

    fn listed(&self, nodes: &[Node]) {
        let mut counts = [[0; 2]; 2];
        for node in nodes {
            counts[usize::from(node.ready)][usize::from(node.active)] += 1;
        }
        *self.nodes.lock() = Some(ListedNodes {
            counts,
            time: SystemTime::now(),
            instant: Instant::now(),
        });
    }
}
