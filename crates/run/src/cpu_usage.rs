//! Samples the CPU usage of the load generators while the test runs. Errors never fail the run.

use super::run::Run;
use atq_engine::{Member, Role, RunContext, Target, Targets, UsageWatch};
use atq_evidence::cpu_usage::SharedCollector;
use atq_task::spec::TaskSpec;
use std::sync::Arc;

/// The sampling of one run; dropping it ends the sampling.
pub struct CpuUsageWatch {
    collector: Arc<SharedCollector>,
    targets: Targets,
    usage: Box<dyn UsageWatch>,
}

/// Whether the verdict on this task depends on the CPU usage of its load generators.
pub fn requires_cpu_usage(spec: &TaskSpec) -> bool {
    !spec.criteria.is_empty() || spec.min_samples.is_some()
}

impl Run {
    /// Samples these containers from now on.
    pub(super) fn watch_cpu_usage(&mut self, members: &[Member]) {
        if !requires_cpu_usage(&self.spec) {
            return;
        }
        let targets = targets(self, members);
        let watch = self.watch.take().unwrap_or_else(|| start(self));
        *watch.targets.lock() = targets;
        self.watch = Some(watch);
    }

    /// Ends the sampling and stores the result.
    pub(super) async fn keep_cpu_usage(&mut self) {
        let Some(watch) = self.watch.take() else {
            return;
        };
        watch.usage.end().await;
        let usage = watch.collector.with(|collector| {
            for node in &self.state.delivered {
                if let Some(millis) = node.clock_offset {
                    collector.clock_offset(&node.node, millis);
                }
            }
            collector.usage()
        });
        let evidence = &self.shared.evidence;
        let kept = evidence.keep_cpu_usage(&self.spec.name, &self.state.run, &usage);
        if let Err(error) = kept.await {
            tracing::warn!(task = %self.spec.name, %error, "cannot store the CPU usage");
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

fn start(run: &Run) -> CpuUsageWatch {
    let collector = Arc::new(SharedCollector::default());
    let targets = Targets::default();
    let engine = &run.shared.engine;
    CpuUsageWatch {
        usage: engine.watch(
            run.facts(),
            Arc::clone(&targets),
            Arc::clone(&collector) as _,
        ),
        collector,
        targets,
    }
}

fn targets(run: &Run, members: &[Member]) -> Vec<Target> {
    let of = |member: &Member| {
        let spec = match member.source.role {
            Role::Worker => &run.spec.worker,
            Role::Master => &run.spec.master,
            _ => return None,
        };
        Some(Target {
            source: member.source,
            node: member.node.clone()?,
            container: member.container.clone().filter(|_| member.is_alive())?,
            limit: spec.resources.limits.processors(),
        })
    };
    members.iter().filter_map(of).collect()
}
