//! Watches how busy the generators of a run are while its test runs: those on the manager's node
//! through Docker's own figures, those on other nodes through a carrier on each. Whatever
//! fails here, the run does not mind.

mod host;
mod others;

use crate::core::Core;
use crate::inbound::Watched;
use crate::port::CpuUsage;
use async_trait::async_trait;
use atq_engine::{Facts, Gauge, Target, Targets, UsageWatch};
use atq_task::spec::ServiceSpec;
use futures_util::{StreamExt, stream};
use host::HostTime;
use others::Others;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// Time between two samples,
const PERIOD: Duration = Duration::from_secs(2);
/// or so many times what taking them needs: who watches must not be what keeps the node busy.
const SHARE: u32 = 20;
/// How many containers are asked for at once.
const AT_ONCE: usize = 4;

struct Watch {
    core: Arc<Core>,
    run: String,
    others: Others,
    work: AbortOnDropHandle<()>,
}

#[async_trait]
impl UsageWatch for Watch {
    async fn end(&self) {
        self.work.abort();
        self.others.end(&self.core).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.core.arrivals.unwatch(&self.run);
    }
}

/// Nothing is sampled until there are targets.
pub(crate) fn begin(
    core: &Arc<Core>,
    run: Facts<'_>,
    targets: Targets,
    gauge: Arc<dyn Gauge>,
) -> Box<dyn UsageWatch> {
    let watched = Watched {
        limits: [&run.spec.worker, &run.spec.master].map(limit_of),
        gauge: Arc::clone(&gauge),
    };
    core.arrivals.watch(&run.state.run, watched);
    let others = Others::of(run);
    let work = watch(Arc::clone(core), gauge, targets, others.clone());
    Box::new(Watch {
        core: Arc::clone(core),
        run: run.state.run.clone(),
        others,
        work: AbortOnDropHandle::new(tokio::spawn(work)),
    })
}

/// Processors that a container of this service may use.
fn limit_of(spec: &ServiceSpec) -> Option<f64> {
    spec.resources.limits.processors()
}

/// Takes samples for ever.
async fn watch(core: Arc<Core>, gauge: Arc<dyn Gauge>, targets: Targets, others: Others) {
    let manager = loop {
        match core.swarm.manager().await {
            Ok(manager) => break manager,
            Err(_) => sleep(PERIOD).await,
        }
    };
    others.begin(&core, &manager, &targets).await;
    let own = manager.node_id;
    let mut before = BTreeMap::new();
    let mut host_before = None;
    loop {
        let begun = Instant::now();
        let mut wanted = targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        wanted.retain(|target| target.node == own);
        let host = HostTime::now();
        let now = sample(&core, wanted).await;
        let is_here = now
            .values()
            .any(|(_, usage)| host.is_some_and(|host| host.is_of(usage)));
        for (container, (target, usage)) in &now {
            if let Some((_, earlier)) = before.get(container)
                && let Some((used, seconds)) = since(earlier, usage)
            {
                let all = f64::from(usage.processors);
                let may = target.limit.map_or(all, |limit| limit.min(all));
                gauge.container(target.source, &own, used, may, seconds);
            }
        }
        if let (true, Some(earlier), Some(host)) = (is_here, host_before, host)
            && let Some((percent, seconds)) = host.since(earlier)
        {
            gauge.node(&own, percent, seconds);
        }
        before = now;
        host_before = host;
        sleep(PERIOD.max(begun.elapsed() * SHARE)).await;
    }
}

/// By container, since a replica is not the container it was.
async fn sample(core: &Core, targets: Vec<Target>) -> BTreeMap<String, (Target, CpuUsage)> {
    let each = stream::iter(targets).map(async |target: Target| {
        let usage = core.swarm.stats(&target.container).await.ok()?;
        // One that has ended meanwhile has none.
        (usage.processors > 0).then(|| (target.container.clone(), (target, usage)))
    });
    let all = each.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    all.into_iter().flatten().collect()
}

/// Processors used in the mean, and for how many seconds.
fn since(earlier: &CpuUsage, now: &CpuUsage) -> Option<(f64, f64)> {
    let elapsed = now.elapsed.checked_sub(earlier.elapsed)?;
    let used = now.used.checked_sub(earlier.used)?;
    let processors = f64::from(now.processors);
    (elapsed > 0).then(|| {
        let share = used as f64 / elapsed as f64;
        (share * processors, elapsed as f64 / 1e9 / processors)
    })
}
