//! Samples the resource usage of the containers of a run: of the commands before the test, and of workers and master while it
//! runs. Errors never fail the run.

use super::clock::Clock;
use super::live::LiveRun;
use super::run::Run;
use atq_engine::{ContainerSample, Member, Role, RunContext, Source, Target, Targets};
use atq_engine::{UsageSink, UsageWatch};
use atq_evidence::container_metrics::MetricsLog;
use atq_evidence::cpu_usage::SharedCollector;
use atq_task::spec::{TaskName, TaskSpec};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// A shorter test may end before it was sampled twice.
pub const MIN_SAMPLED_DURATION: Duration = Duration::from_secs(15);
/// Interval between two writes of samples to the disk.
const FLUSH_INTERVAL: Duration = Duration::from_secs(2);

/// The sampling of one run; dropping it ends the sampling.
pub struct Sampling {
    recorder: Arc<Recorder>,
    targets: Targets,
    watch: Box<dyn UsageWatch>,
    flushing: AbortOnDropHandle<()>,
}

/// Receives the samples of a run.
struct Recorder {
    clock: Clock,
    /// CPU usage for the verdict, of the test only.
    cpu: SharedCollector,
    /// Whether the test runs and its verdict requires the CPU usage.
    requires_cpu: AtomicBool,
    /// All samples.
    log: MetricsLog,
    /// The latest samples.
    live: Arc<LiveRun>,
}

impl UsageSink for Recorder {
    fn container(&self, sample: &ContainerSample<'_>) {
        let now = self.clock.now();
        self.log.add(now, sample);
        self.live.record_usage(now, sample);
        let target = sample.target;
        if let Some(cpu) = sample.cpu
            && matches!(target.source.role, Role::Worker | Role::Master)
            && self.requires_cpu.load(Ordering::Relaxed)
        {
            self.cpu.with(|collector| {
                let (source, node) = (target.source, target.node.as_str());
                collector.container(source, node, cpu.used, cpu.processors, cpu.seconds);
            });
        }
    }

    fn node(&self, node: &str, percent: f64, seconds: f64) {
        if self.requires_cpu.load(Ordering::Relaxed) {
            self.cpu
                .with(|collector| collector.node(node, percent, seconds));
        }
    }
}

/// Whether the verdict on this task depends on the CPU usage of its load generators.
pub fn requires_cpu_usage(spec: &TaskSpec) -> bool {
    spec.has_requirements()
}

impl Run {
    /// Samples these containers from now on. The test does not run yet.
    pub(super) fn sample_usage(&mut self, members: &[Member]) {
        let targets = targets(self, members);
        let sampling = self.sampling.take().unwrap_or_else(|| start(self));
        *sampling.targets.lock() = targets;
        self.sampling = Some(sampling);
    }

    /// Samples these containers from now on. The test runs.
    pub(super) fn sample_test_usage(&mut self, members: &[Member]) {
        self.sample_usage(members);
        if let Some(sampling) = &self.sampling {
            let requires = requires_cpu_usage(&self.spec);
            let recorder = &sampling.recorder;
            recorder.requires_cpu.store(requires, Ordering::Relaxed);
        }
    }

    /// Ends the sampling and stores the result.
    pub(super) async fn keep_usage(&mut self) {
        let Some(sampling) = self.sampling.take() else {
            return;
        };
        sampling.watch.end().await;
        sampling.flushing.abort();
        let task = &self.spec.name;
        if let Err(error) = sampling.recorder.log.finish().await {
            tracing::warn!(%task, %error, "cannot store the resource usage of the containers");
        }
        if !sampling.recorder.requires_cpu.load(Ordering::Relaxed) {
            return;
        }
        let usage = sampling.recorder.cpu.with(|collector| {
            for node in &self.state.delivered {
                if let Some(millis) = node.clock_offset {
                    collector.clock_offset(&node.node, millis);
                }
            }
            collector.usage()
        });
        let evidence = &self.shared.evidence;
        let kept = evidence.keep_cpu_usage(task, &self.state.run, &usage);
        if let Err(error) = kept.await {
            tracing::warn!(%task, %error, "cannot store the CPU usage");
        }
    }

    /// Adds clock offsets of nodes, reported by carriers, in milliseconds ahead of the Director's clock.
    pub(super) async fn record_clock_offsets(&self, clocks: Vec<(String, i64)>) {
        let (evidence, suffix) = (&self.shared.evidence, &self.state.run);
        let known = evidence.cpu_usage(&self.spec.name, suffix).await;
        let mut usage = known.ok().flatten().unwrap_or_default();
        let before = usage.clock_offsets.clone();
        usage.clock_offsets.extend(clocks);
        if usage.clock_offsets != before
            && let Err(error) = evidence
                .keep_cpu_usage(&self.spec.name, suffix, &usage)
                .await
        {
            tracing::warn!(task = %self.spec.name, %error, "cannot store the clock offsets of the nodes");
        }
    }
}

fn start(run: &Run) -> Sampling {
    let evidence = &run.shared.evidence;
    let log = evidence.container_metrics_log(&run.spec.name, &run.state.run);
    let recorder = Arc::new(Recorder {
        clock: run.shared.clock,
        cpu: SharedCollector::default(),
        requires_cpu: AtomicBool::new(false),
        log: log.clone(),
        live: Arc::clone(&run.live),
    });
    let targets = Targets::default();
    let sink = Arc::clone(&recorder) as _;
    let engine = &run.shared.engine;
    Sampling {
        watch: engine.watch(run.facts(), Arc::clone(&targets), sink),
        recorder,
        targets,
        flushing: AbortOnDropHandle::new(tokio::spawn(flush(run.spec.name.clone(), log))),
    }
}

/// Writes the samples to the disk until it is cancelled.
async fn flush(task: TaskName, log: MetricsLog) {
    let mut failed = false;
    loop {
        sleep(FLUSH_INTERVAL).await;
        let flushed = log.flush().await;
        if let (Err(error), false) = (&flushed, failed) {
            tracing::warn!(%task, %error, "cannot store the resource usage of the containers; retrying");
        }
        failed = flushed.is_err();
    }
}

fn targets(run: &Run, members: &[Member]) -> Vec<Target> {
    let of = |member: &Member| {
        let limit = match member.source.role {
            Role::Worker => run.spec.worker.resources.limits.processors(),
            Role::Master => run.spec.master.resources.limits.processors(),
            Role::Wait | Role::Readiness => None,
            _ => return None,
        };
        Some(Target {
            source: match member.source.role {
                // Only one attempt runs at a time.
                Role::Wait => Source::new(Role::Wait, run.state.wait_attempts + 1),
                _ => member.source,
            },
            node: member.node.clone()?,
            container: member.container.clone().filter(|_| member.is_alive())?,
            limit,
        })
    };
    members.iter().filter_map(of).collect()
}
