//! Samples the resource usage of a run's containers: those on the manager's node through Docker's statistics, those on other
//! nodes through a carrier on each. Failures do not affect the run.

mod host;
mod other_nodes;

use crate::carrier_endpoint::WatchedRun;
use crate::core::Core;
use crate::port::{ContainerUsage, CpuUsage};
use async_trait::async_trait;
use atq_engine::{ContainerSample, CpuInterval, Facts, Target, Targets, UsageSink, UsageWatch};
use futures_util::{StreamExt, stream};
use host::HostTime;
use other_nodes::NodeWatchers;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// Minimum interval between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);
/// The interval is at least this many times the duration of a sample, so that sampling does not load the node.
const DURATION_FACTOR: u32 = 20;
/// Number of containers that are sampled concurrently.
const CONCURRENCY: usize = 4;

struct Watch {
    core: Arc<Core>,
    run: String,
    watchers: NodeWatchers,
    work: AbortOnDropHandle<()>,
}

#[async_trait]
impl UsageWatch for Watch {
    async fn end(&self) {
        self.work.abort();
        self.watchers.stop(&self.core).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.core.ingest.unwatch(&self.run);
    }
}

/// Starts sampling; nothing is sampled until there are targets.
pub(crate) fn watch(
    core: &Arc<Core>,
    run: Facts<'_>,
    targets: Targets,
    sink: Arc<dyn UsageSink>,
) -> Box<dyn UsageWatch> {
    let watched = WatchedRun::new(Arc::clone(&sink), Arc::clone(&targets));
    core.ingest.watch(&run.state.run, watched);
    let watchers = NodeWatchers::new(run, core.carrier_secret(run));
    let work = sample_forever(Arc::clone(core), sink, targets, watchers.clone());
    Box::new(Watch {
        core: Arc::clone(core),
        run: run.state.run.clone(),
        watchers,
        work: AbortOnDropHandle::new(tokio::spawn(work)),
    })
}

/// Samples until it is cancelled.
async fn sample_forever(
    core: Arc<Core>,
    sink: Arc<dyn UsageSink>,
    targets: Targets,
    watchers: NodeWatchers,
) {
    let manager = loop {
        match core.swarm.manager().await {
            Ok(manager) => break manager,
            Err(_) => sleep(SAMPLE_INTERVAL).await,
        }
    };
    tokio::join!(
        watchers.follow(&core, &manager, &targets),
        sample_own(&core, &*sink, &targets, &manager.node_id)
    );
}

/// Samples the containers on this node, and the node, until it is cancelled.
async fn sample_own(core: &Core, sink: &dyn UsageSink, targets: &Targets, own: &str) {
    let mut before = BTreeMap::new();
    let mut host_before = None;
    loop {
        let started = Instant::now();
        let mut wanted = targets.lock().clone();
        wanted.retain(|target| target.node == own);
        let host = HostTime::now();
        let now = sample(core, wanted).await;
        let is_here = now
            .values()
            .any(|(_, usage)| host.is_some_and(|host| host.is_of(&usage.cpu)));
        for (container, (target, usage)) in &now {
            let earlier = before.get(container);
            let cpu = earlier.and_then(|(_, earlier): &(Target, ContainerUsage)| {
                since(&earlier.cpu, &usage.cpu, target.limit)
            });
            sink.container(&ContainerSample {
                target,
                cpu,
                usage: usage.usage,
            });
        }
        if let (true, Some(earlier), Some(host)) = (is_here, host_before, host)
            && let Some((percent, seconds)) = host.since(earlier)
        {
            sink.node(own, percent, seconds);
        }
        before = now;
        host_before = host;
        sleep(SAMPLE_INTERVAL.max(started.elapsed() * DURATION_FACTOR)).await;
    }
}

/// One sample by container, because the container of a replica may change.
async fn sample(core: &Core, targets: Vec<Target>) -> BTreeMap<String, (Target, ContainerUsage)> {
    let each = stream::iter(targets).map(async |target: Target| {
        let usage = core.swarm.stats(&target.container).await.ok()?;
        // A container that has ended has no usage.
        (usage.cpu.processors > 0).then(|| (target.container.clone(), (target, usage)))
    });
    let all = each.buffer_unordered(CONCURRENCY).collect::<Vec<_>>().await;
    all.into_iter().flatten().collect()
}

/// The CPU usage between two samples of a container with this CPU limit.
fn since(earlier: &CpuUsage, now: &CpuUsage, limit: Option<f64>) -> Option<CpuInterval> {
    let elapsed = now.elapsed.checked_sub(earlier.elapsed)?;
    let used = now.used.checked_sub(earlier.used)?;
    let all = f64::from(now.processors);
    (elapsed > 0).then(|| CpuInterval {
        used: used as f64 / elapsed as f64 * all,
        processors: limit.map_or(all, |limit| limit.min(all)),
        seconds: elapsed as f64 / 1e9 / all,
    })
}
