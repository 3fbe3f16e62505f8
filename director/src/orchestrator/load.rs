//! Watches how busy the generators of a run are while its test runs: those on the manager's node
//! through Docker's own figures, those on other nodes through a carrier on each, which tells. Whatever
//! fails here, the run does not mind.

mod host;
mod others;
pub(super) mod watch;

use super::arrivals::{Book, Watched, with_book};
use super::run::Run;
use super::shared::Shared;
use crate::evidence::Source;
use crate::plan::Role;
use crate::swarm::{CpuUsage, SwarmTask};
use crate::task::spec::{ServiceSpec, TaskSpec};
use futures_util::{StreamExt, stream};
use host::HostTime;
use others::Others;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use watch::{Target, Targets, Watch};

/// Time between two samples,
const PERIOD: Duration = Duration::from_secs(2);
/// or so many times what taking them needs: who watches must not be what keeps the node busy.
const SHARE: u32 = 20;
/// How many containers are asked for at once.
const AT_ONCE: usize = 4;

/// Whether it matters for this task how busy its generators were.
pub fn watches_load(spec: &TaskSpec) -> bool {
    !spec.criteria.is_empty() || spec.min_samples.is_some()
}

impl Run {
    /// Watches these Swarm tasks of the run from now on.
    pub(super) fn watch_load(&mut self, tasks: &[SwarmTask]) {
        if !watches_load(&self.spec) {
            return;
        }
        let targets = targets(self, tasks);
        if self.watch.is_none() {
            self.watch = Some(begin(self));
        }
        let Some(watch) = &self.watch else {
            return;
        };
        *watch.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
    }

    /// Ends the watch and keeps what it saw.
    pub(super) async fn keep_load(&mut self) {
        let Some(watch) = self.watch.take() else {
            return;
        };
        watch.work.abort();
        watch.others.end(&*self.shared.swarm).await;
        self.shared.arrivals.close_book(&self.state.run);
        let load = with_book(&watch.book, |book| {
            for node in &self.state.delivered {
                if let Some(millis) = node.clock_offset {
                    book.clock_offset(&node.node, millis);
                }
            }
            book.load()
        });
        let evidence = &self.shared.evidence;
        let kept = evidence.keep_load(&self.spec.name, &self.state.run, &load);
        if let Err(error) = kept.await {
            tracing::warn!(task = %self.spec.name, %error, "cannot keep how busy the run was");
        }
    }
}

/// Nothing is sampled until there are targets.
fn begin(run: &Run) -> Watch {
    let book = Book::default();
    let watched = Watched {
        limits: [limit_of(&run.spec.worker), limit_of(&run.spec.master)],
        book: Arc::clone(&book),
    };
    run.shared.arrivals.open_book(&run.state.run, watched);
    let targets = Targets::default();
    let others = Others::of(&run.spec, &run.state);
    let work = watch(
        Arc::clone(&run.shared),
        Arc::clone(&book),
        Arc::clone(&targets),
        others.clone(),
    );
    Watch {
        book,
        targets,
        work: tokio::spawn(work),
        others,
    }
}

impl Run {
    /// Adds what carriers found about the clocks of nodes, in milliseconds ahead of the Director's.
    pub(super) async fn note_clocks(&self, clocks: impl Iterator<Item = (String, i64)>) {
        let (evidence, suffix) = (&self.shared.evidence, &self.state.run);
        let known = evidence.load(&self.spec.name, suffix).await;
        let mut load = known.ok().flatten().unwrap_or_default();
        let before = load.clock_offsets.clone();
        load.clock_offsets.extend(clocks);
        if load.clock_offsets != before
            && let Err(error) = evidence.keep_load(&self.spec.name, suffix, &load).await
        {
            tracing::warn!(task = %self.spec.name, %error, "cannot keep what the clocks of the nodes show");
        }
    }
}

/// Processors that a container of this service may use.
pub fn limit_of(spec: &ServiceSpec) -> Option<f64> {
    let nanos = spec.resources.limits.nano_cpus?;
    Some(nanos as f64 / 1e9)
}

fn targets(run: &Run, tasks: &[SwarmTask]) -> Vec<Target> {
    let of = |task: &SwarmTask| {
        let service = Some(task.service_id.as_str());
        let (role, spec) = match service {
            service if service == run.state.worker.as_deref() => (Role::Worker, &run.spec.worker),
            service if service == run.state.master.as_deref() => (Role::Master, &run.spec.master),
            _ => return None,
        };
        Some(Target {
            source: Source {
                role,
                replica: task.slot,
            },
            node: task.node_id.clone()?,
            container: task.container_id.clone().filter(|_| task.is_alive())?,
            limit: limit_of(spec),
        })
    };
    tasks.iter().filter_map(of).collect()
}

/// Takes samples for ever.
async fn watch(shared: Arc<Shared>, book: Book, targets: Targets, others: Others) {
    let manager = loop {
        match shared.swarm.manager().await {
            Ok(manager) => break manager,
            Err(_) => sleep(PERIOD).await,
        }
    };
    others.begin(&shared, &manager, &targets).await;
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
        let now = sample(&shared, wanted).await;
        let is_here = now
            .values()
            .any(|(_, usage)| host.is_some_and(|host| host.is_of(usage)));
        with_book(&book, |book| {
            for (container, (target, usage)) in &now {
                if let Some((_, earlier)) = before.get(container)
                    && let Some((used, seconds)) = since(earlier, usage)
                {
                    let all = f64::from(usage.processors);
                    let may = target.limit.map_or(all, |limit| limit.min(all));
                    book.container(target.source, &own, used, may, seconds);
                }
            }
            if let (true, Some(earlier), Some(host)) = (is_here, host_before, host)
                && let Some((percent, seconds)) = host.since(earlier)
            {
                book.node(&own, percent, seconds);
            }
        });
        before = now;
        host_before = host;
        sleep(PERIOD.max(begun.elapsed() * SHARE)).await;
    }
}

/// By container, since a replica is not the container it was.
async fn sample(shared: &Shared, targets: Vec<Target>) -> BTreeMap<String, (Target, CpuUsage)> {
    let each = stream::iter(targets).map(async |target: Target| {
        let usage = shared.swarm.stats(&target.container).await.ok()?;
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
