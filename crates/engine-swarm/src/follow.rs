//! Following of result files while the test runs: one carrier on each node with containers of the run sends what they append.
//! Failures do not affect the run.

use crate::carrier_endpoint::FollowedRun;
use crate::core::Core;
use crate::error::SwarmError;
use crate::node_job;
use crate::node_url;
use crate::plan::{
    CarrierPlan, Errand, LABEL_ORDER, LABEL_ROLE, Labels, Mount, MountSource, RunPlan, Scale,
    ServicePlan,
};
use crate::port::{Manager, SwarmTask};
use crate::{members, services};
use async_trait::async_trait;
use atq_engine::{Facts, Member, Phase, ReadProblem, ResultsFollow, ResultsSink, Role, Source};
use atq_node_protocol::order::{Order, Tail};
use atq_node_protocol::tail::MAX_SOURCES;
use atq_retry::{Backoff, Pauses};
use atq_task::spec::TaskSpec;
use futures_util::future::join_all;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// Interval between two searches of a carrier for appended bytes, in milliseconds.
const TAIL_INTERVAL_MS: u64 = 500;
/// Interval between two checks whether the carriers run.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Pauses before a carrier that has ended is created again.
const PAUSES: Pauses = Pauses {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};
/// A carrier that ran for this long is created again without a long pause.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// A service without a Swarm task for this long was removed by somebody else.
const VANISHED_AFTER: Duration = Duration::from_secs(10);
/// Names that stay taken for a moment after a removal are skipped.
const MAX_NAMES: u32 = 50;
/// Directory in the carrier with the volumes of the containers.
const RESULTS_DIR: &str = "/results";

struct Follow {
    core: Arc<Core>,
    followed: Arc<FollowedRun>,
    tails: Arc<Tails>,
    work: AbortOnDropHandle<()>,
}

#[async_trait]
impl ResultsFollow for Follow {
    async fn end(&self) {
        self.work.abort();
        self.unregister();
        self.tails.remove_all().await;
    }
}

impl Follow {
    fn unregister(&self) {
        self.core.ingest.unfollow(&self.tails.run, &self.followed);
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.unregister();
    }
}

/// Starts the following. Members that have not started are skipped.
pub(crate) fn follow(
    core: &Arc<Core>,
    run: Facts<'_>,
    members: Vec<Member>,
    sink: Arc<dyn ResultsSink>,
) -> Box<dyn ResultsFollow> {
    let nodes = place(members, &*sink);
    let placed = nodes.iter().flat_map(|(node, containers)| {
        let sources = containers.iter().map(|one| one.source);
        sources.map(|source| (source, node.clone()))
    });
    let placed: HashSet<_> = placed.collect();
    let followed = Arc::new(FollowedRun::new(Arc::clone(&sink), placed));
    core.ingest.follow(&run.state.run, Arc::clone(&followed));
    let tails = Arc::new(Tails {
        core: Arc::clone(core),
        spec: run.spec.clone(),
        run: run.state.run.clone(),
        secret: core.carrier_secret(run),
        sink,
        next_number: AtomicU32::new(1),
    });
    let work = Arc::clone(&tails).keep_running(nodes);
    Box::new(Follow {
        core: Arc::clone(core),
        followed,
        tails,
        work: AbortOnDropHandle::new(tokio::spawn(work)),
    })
}

/// A container with a result volume.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Container {
    source: Source,
    /// Id of its Swarm task, after which its volume is named.
    task: String,
}

/// The started containers by node. The volume of another one may not exist: mounting it would create it without the content of
/// the image.
fn place(mut members: Vec<Member>, sink: &dyn ResultsSink) -> BTreeMap<String, Vec<Container>> {
    // Of two containers with one number, the one that runs.
    members.sort_by_key(|member| (member.source, member.phase != Phase::Running));
    members.dedup_by_key(|member| member.source);
    let mut nodes: BTreeMap<String, Vec<Container>> = BTreeMap::new();
    for member in members {
        let has_started = member.container.is_some() && member.phase >= Phase::Running;
        let problem = match member.node.filter(|_| has_started) {
            None => "it had not started when the test began".to_owned(),
            Some(node) => {
                let containers = nodes.entry(node).or_default();
                if containers.len() < MAX_SOURCES {
                    // In an order that is the same after a restart.
                    containers.push(Container {
                        source: member.source,
                        task: member.id,
                    });
                    continue;
                }
                format!("its node has more than {MAX_SOURCES} containers")
            }
        };
        let problem = format!("its files are not followed: {problem}");
        sink.problem(&[member.source], ReadProblem::Unread(problem));
    }
    nodes
}

/// The carriers of a run.
struct Tails {
    core: Arc<Core>,
    spec: TaskSpec,
    run: String,
    secret: String,
    sink: Arc<dyn ResultsSink>,
    /// Number of the next service.
    next_number: AtomicU32,
}

/// The carrier of a node.
struct NodeTail {
    node: String,
    containers: Vec<Container>,
    service: ServiceState,
    backoff: Backoff,
    /// The last reported problem; `None` while it runs.
    told: Option<String>,
}

enum ServiceState {
    Missing { retry_at: Instant },
    Created { id: String, at: Instant },
}

/// The status of a carrier.
enum TailStatus {
    /// It runs, or is about to.
    Fine,
    /// It does not run, and may later.
    Waits(String),
    /// It has ended.
    Ended(String),
}

impl Tails {
    /// Keeps a carrier running on each node, until it is cancelled.
    async fn keep_running(self: Arc<Self>, nodes: BTreeMap<String, Vec<Container>>) {
        let tail = |(node, containers)| NodeTail {
            node,
            containers,
            service: ServiceState::Missing {
                retry_at: Instant::now(),
            },
            backoff: Backoff::new(PAUSES),
            told: None,
        };
        let mut tails: Vec<NodeTail> = nodes.into_iter().map(tail).collect();
        let mut has_removed_others = false;
        loop {
            self.create_missing(&mut tails, &mut has_removed_others)
                .await;
            sleep(POLL_INTERVAL).await;
            let Ok(tasks) = self.core.swarm.tasks(&self.labels()).await else {
                continue;
            };
            join_all(tails.iter_mut().map(|tail| self.check(tail, &tasks))).await;
        }
    }

    /// Labels of the services.
    fn labels(&self) -> Labels {
        let mut labels = services::of_run(&self.run_plan().labels(Role::Tail));
        labels.insert(LABEL_ROLE.to_owned(), Role::Tail.to_string());
        labels
    }

    fn run_plan(&self) -> RunPlan<'_> {
        let settings = &self.core.settings;
        RunPlan {
            spec: &self.spec,
            run: &self.run,
            director: &settings.director_id,
            place: &settings.place,
            networks_tried: 1,
        }
    }

    /// Creates the carriers that are missing, or finds those of before a restart. Others of before the restart are removed once:
    /// their order has another port or certificate.
    async fn create_missing(&self, tails: &mut [NodeTail], has_removed_others: &mut bool) {
        let now = Instant::now();
        let is_due = |tail: &NodeTail| matches!(tail.service, ServiceState::Missing { retry_at } if retry_at <= now);
        if !tails.iter().any(is_due) {
            return;
        }
        let prepared = self.prepare().await;
        let due = tails.iter_mut().filter(|tail| is_due(tail));
        let prepared = &prepared;
        let created = due.map(async |tail| {
            let created = match prepared {
                Ok(prepared) => self.create(tail, prepared).await,
                Err(problem) => Err(problem.clone()),
            };
            match created {
                Ok(id) => {
                    tail.service = ServiceState::Created {
                        id,
                        at: Instant::now(),
                    };
                }
                Err(problem) => self.retry_later(tail, problem),
            }
        });
        join_all(created).await;
        if let (false, Ok(prepared)) = (*has_removed_others, prepared) {
            self.remove_others(tails, &prepared.existing).await;
            *has_removed_others = true;
        }
    }

    async fn prepare(&self) -> Result<Prepared, String> {
        let manager = self.core.swarm.manager().await.map_err(text)?;
        let found = self.core.swarm.services(&self.labels()).await;
        let found = found.map_err(text)?;
        let existing = found.into_iter().map(|service| {
            let order = service.labels.get(LABEL_ORDER).cloned();
            (service.id, order.unwrap_or_default())
        });
        Ok(Prepared {
            manager,
            existing: existing.collect(),
        })
    }

    /// Creates the carrier of a node, or finds it; returns the id of its service.
    async fn create(&self, tail: &NodeTail, prepared: &Prepared) -> Result<String, String> {
        let is_own = tail.node == prepared.manager.node_id;
        let url = node_url::open(&self.core, &prepared.manager, is_own).await?;
        for _ in 0..MAX_NAMES {
            let number = self.next_number.fetch_add(1, Ordering::Relaxed);
            let plan = self.plan(tail, &url.url, number);
            let own = plan.labels.get(LABEL_ORDER);
            let mut existing = prepared.existing.iter();
            if let Some((id, _)) = existing.find(|(_, order)| Some(order) == own) {
                return Ok(id.clone());
            }
            match self.core.swarm.create_service(&plan).await {
                Ok(id) => return Ok(id),
                Err(SwarmError::Conflict { .. } | SwarmError::InUse { .. }) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("all names of its services are taken".to_owned())
    }

    fn plan(&self, tail: &NodeTail, url: &str, number: u32) -> ServicePlan {
        let run = self.run_plan();
        let mounts = tail.containers.iter().map(|container| Mount {
            source: MountSource::Volume {
                name: run.results_volume(&container.task),
                labels: run.labels(container.source.role),
            },
            target: format!("{RESULTS_DIR}/{}", container.source),
            read_only: true,
        });
        let plan = CarrierPlan {
            role: Role::Tail,
            number,
            image: &self.core.settings.carrier_image,
            order: Order::Tail(Tail {
                url: url.to_owned(),
                certificate: Some(self.core.node_door.certificate().to_owned()),
                run: self.run.clone(),
                sources: sources(&tail.containers)
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                interval_ms: TAIL_INTERVAL_MS,
            }),
            errand: Some(Errand::Tail { node: &tail.node }),
            mounts: mounts.collect(),
            scale: Scale::Replicas(1),
            constraints: vec![format!("node.id=={}", tail.node)],
        };
        let digest = plan.digest();
        let mut plan = run.carrier(plan, &self.secret);
        plan.labels.insert(LABEL_ORDER.to_owned(), digest);
        plan
    }

    /// Reports the problem, and removes a carrier that has ended.
    async fn check(&self, tail: &mut NodeTail, tasks: &[SwarmTask]) {
        let ServiceState::Created { id, at } = &tail.service else {
            return;
        };
        let (id, age) = (id.clone(), at.elapsed());
        match self.status(&id, age, tasks, tail).await {
            TailStatus::Fine => tail.told = None,
            TailStatus::Waits(problem) => self.tell(tail, problem),
            TailStatus::Ended(problem) => {
                if age >= STABLE_AFTER {
                    tail.backoff.reset();
                }
                self.remove(&id).await;
                self.retry_later(tail, problem);
            }
        }
    }

    async fn status(
        &self,
        service: &str,
        age: Duration,
        tasks: &[SwarmTask],
        tail: &NodeTail,
    ) -> TailStatus {
        let task = tasks.iter().find(|task| task.service_id == service);
        match task {
            None if age < VANISHED_AFTER => TailStatus::Fine,
            None => TailStatus::Ended("its service was removed".to_owned()),
            Some(task) if task.state.is_terminal() => {
                let plan = self.plan(tail, "", 1);
                let reason = node_job::problem_of(&*self.core.swarm, &plan, task).await;
                TailStatus::Ended(reason)
            }
            Some(task) if members::is_gone(task) || members::is_unplaceable(task, age) => {
                TailStatus::Waits(members::reason(task))
            }
            Some(_) => TailStatus::Fine,
        }
    }

    fn retry_later(&self, tail: &mut NodeTail, problem: String) {
        self.tell(tail, problem);
        tail.service = ServiceState::Missing {
            retry_at: Instant::now() + tail.backoff.next_pause(),
        };
    }

    fn tell(&self, tail: &mut NodeTail, problem: String) {
        if tail.told.as_ref() != Some(&problem) {
            tracing::debug!(task = %self.spec.name, node = %tail.node, problem, "cannot follow the result files of a node");
            let shown = format!("its files are not followed at the moment: {problem}");
            let shown = ReadProblem::Unread(shown);
            self.sink.problem(&sources(&tail.containers), shown);
            tail.told = Some(problem);
        }
    }

    async fn remove_others(&self, tails: &[NodeTail], existing: &[(String, String)]) {
        let is_used = |id: &String| {
            let mut states = tails.iter().map(|tail| &tail.service);
            states
                .any(|state| matches!(state, ServiceState::Created { id: used, .. } if used == id))
        };
        for (id, _) in existing.iter().filter(|(id, _)| !is_used(id)) {
            self.remove(id).await;
        }
    }

    /// Removes the carriers; clean-up does so if this fails.
    async fn remove_all(&self) {
        match self.core.swarm.services(&self.labels()).await {
            Ok(found) => {
                join_all(found.iter().map(|service| self.remove(&service.id))).await;
            }
            Err(error) => self.cannot_remove(&error),
        }
    }

    async fn remove(&self, service: &str) {
        if let Err(error) = self.core.remove_service(service).await {
            self.cannot_remove(&error);
        }
    }

    fn cannot_remove(&self, error: &SwarmError) {
        tracing::debug!(task = %self.spec.name, %error, "cannot remove the carriers that follow result files; clean-up will remove them");
    }
}

/// What all carriers of a run need.
struct Prepared {
    manager: Manager,
    /// Id and digest of the order of each existing service.
    existing: Vec<(String, String)>,
}

fn sources(containers: &[Container]) -> Vec<Source> {
    containers.iter().map(|one| one.source).collect()
}

fn text(error: SwarmError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
