//! CPU usage of the containers of a run and of their nodes during the test: `evidence/<task>/<run>/load.json`.
//! The response times of a saturated generator measure the generator instead of the system under test.

use super::{Evidence, Source};
use atq_files::if_there;
use atq_task::spec::TaskName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::fs;

/// A sample at or above this percentage counts as busy.
pub const BUSY_PERCENT: f64 = 90.0;
/// Fewer samples are not enough to detect saturation.
const ENOUGH_SAMPLES: u32 = 5;
/// The share of busy samples at which a container or node counts as saturated.
const SATURATED_SHARE: f64 = 0.25;

/// CPU usage of a container or node, in percent of its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Busy {
    /// Number of samples.
    pub samples: u32,
    /// Seconds that they cover.
    pub seconds: f64,
    /// Their mean, weighted by time.
    pub mean: f64,
    /// The highest of them.
    pub max: f64,
    /// Share of the samples with [`BUSY_PERCENT`] or more, from 0 to 1.
    pub busy_share: f64,
}

impl Busy {
    /// True if CPU usage was high so often that the measured figures cannot be trusted.
    pub fn is_saturated(&self) -> bool {
        self.samples >= ENOUGH_SAMPLES && self.busy_share >= SATURATED_SHARE
    }
}

/// CPU usage of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceUsage {
    /// Docker's node id.
    pub node: String,
    /// The container's CPU limit, else the processors of its node.
    pub processors: f64,
    /// Usage in percent of `processors`.
    pub busy: Busy,
}

/// CPU usage of the generators of a run and of their nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuUsage {
    /// By container, for example `worker.3`.
    pub sources: BTreeMap<String, SourceUsage>,
    /// Whole nodes, by Docker's node id.
    pub nodes: BTreeMap<String, Busy>,
    /// Milliseconds by which the clock of a node is ahead of the Director's, by Docker's node id.
    pub clock_offsets: BTreeMap<String, i64>,
}

/// Aggregates the samples of one container or node.
#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    samples: u32,
    seconds: f64,
    weighted: f64,
    max: f64,
    high: u32,
}

impl Meter {
    fn add(&mut self, percent: f64, seconds: f64) {
        self.samples += 1;
        self.seconds += seconds;
        self.weighted += percent * seconds;
        self.max = self.max.max(percent);
        self.high += u32::from(percent >= BUSY_PERCENT);
    }

    fn busy(&self) -> Busy {
        let round = |value: f64| (value * 1000.0).round() / 1000.0;
        Busy {
            samples: self.samples,
            seconds: round(self.seconds),
            mean: round(self.weighted / self.seconds.max(f64::MIN_POSITIVE)),
            max: round(self.max),
            busy_share: round(f64::from(self.high) / f64::from(self.samples.max(1))),
        }
    }
}

/// Collects the samples of a run.
#[derive(Debug, Default)]
pub struct UsageCollector {
    sources: BTreeMap<Source, (String, f64, Meter)>,
    nodes: BTreeMap<String, Meter>,
    clock_offsets: BTreeMap<String, i64>,
}

impl UsageCollector {
    /// Adds a sample: a container on `node` with a limit of `processors` used `used` of them for `seconds`.
    pub fn container(
        &mut self,
        source: Source,
        node: &str,
        used: f64,
        processors: f64,
        seconds: f64,
    ) {
        if processors <= 0.0 || !used.is_finite() {
            return;
        }
        let entry = self.sources.entry(source);
        let (_, _, meter) =
            entry.or_insert_with(|| (node.to_owned(), processors, Meter::default()));
        meter.add(used / processors * 100.0, seconds);
    }

    /// Adds a sample: average usage of all processors of `node` for `seconds`.
    pub fn node(&mut self, node: &str, percent: f64, seconds: f64) {
        if percent.is_finite() {
            let meter = self.nodes.entry(node.to_owned()).or_default();
            meter.add(percent, seconds);
        }
    }

    /// Sets the milliseconds by which the clock of `node` is ahead of the Director's.
    pub fn clock_offset(&mut self, node: &str, millis: i64) {
        self.clock_offsets.insert(node.to_owned(), millis);
    }

    /// The usage so far.
    pub fn usage(&self) -> CpuUsage {
        let sources = self
            .sources
            .iter()
            .map(|(source, (node, processors, meter))| {
                let usage = SourceUsage {
                    node: node.clone(),
                    processors: *processors,
                    busy: meter.busy(),
                };
                (source.to_string(), usage)
            });
        let nodes = self.nodes.iter();
        CpuUsage {
            sources: sources.collect(),
            nodes: nodes
                .map(|(id, meter)| (id.clone(), meter.busy()))
                .collect(),
            clock_offsets: self.clock_offsets.clone(),
        }
    }
}

impl Evidence {
    /// Writes the CPU usage of a run.
    ///
    /// # Errors
    /// If writing fails.
    pub async fn keep_cpu_usage(
        &self,
        task: &TaskName,
        run: &str,
        usage: &CpuUsage,
    ) -> io::Result<()> {
        self.keep(task, run, "load.json", usage).await
    }

    /// The CPU usage of a run; `None` if it was not measured.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn cpu_usage(&self, task: &TaskName, run: &str) -> io::Result<Option<CpuUsage>> {
        let text = if_there(fs::read(self.run_dir(task, run).join("load.json")).await)?;
        Ok(text.map(|text| serde_json::from_slice(&text)).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use atq_engine::Role;

    const WORKER: Source = Source {
        role: Role::Worker,
        replica: 2,
    };

    #[test]
    fn samples_are_percentages_of_the_limit_of_a_container() {
        let mut collector = UsageCollector::default();
        for used in [0.5, 1.9, 2.0, 0.4, 0.2] {
            collector.container(WORKER, "n1", used, 2.0, 2.0);
        }
        collector.node("n1", 50.0, 2.0);
        let usage = collector.usage();
        let worker = &usage.sources["worker.2"];
        assert_eq!(worker.node, "n1");
        assert_eq!(worker.busy.samples, 5);
        assert_eq!((worker.busy.mean, worker.busy.max), (50.0, 100.0));
        assert_eq!((worker.busy.seconds, worker.busy.busy_share), (10.0, 0.4));
        assert!(worker.busy.is_saturated());
        assert!(!usage.nodes["n1"].is_saturated());
    }

    #[test]
    fn a_few_samples_are_not_enough_for_saturation() {
        let mut collector = UsageCollector::default();
        for _ in 0..4 {
            collector.node("n1", 100.0, 2.0);
        }
        assert!(!collector.usage().nodes["n1"].is_saturated());
    }

    #[tokio::test]
    async fn the_usage_of_a_run_is_kept_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let evidence = Evidence::new(dir.path());
        let task = TaskName::parse("load").unwrap();
        assert_eq!(evidence.cpu_usage(&task, "a1b2c3").await.unwrap(), None);
        let mut collector = UsageCollector::default();
        collector.container(WORKER, "n1", 1.0, 4.0, 2.0);
        collector.clock_offset("n1", -3);
        let usage = collector.usage();
        evidence
            .keep_cpu_usage(&task, "a1b2c3", &usage)
            .await
            .unwrap();
        let read = evidence.cpu_usage(&task, "a1b2c3").await.unwrap();
        assert_eq!(read, Some(usage));
    }
}

/// A [`UsageCollector`] for concurrent use.
#[derive(Debug, Default)]
pub struct SharedCollector(Mutex<UsageCollector>);

impl SharedCollector {
    /// Calls `work` with the samples locked.
    pub fn with<T>(&self, work: impl FnOnce(&mut UsageCollector) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
