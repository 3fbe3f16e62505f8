//! Results from nodes other than the manager's: Docker returns files of a container only on its own node, so that one
//! carrier on each of these nodes uploads them to the Director.

use crate::core::Core;
use crate::node_job::{self, NodeOutcome};
use crate::node_url;
use crate::plan::{CarrierPlan, Errand, Scale, ServicePlan, socket_mount};
use crate::port::{Manager, role_of};
use atq_engine::{Deadline, Facts, Fetched, Member, ResultsReceiver, Role, Source};
use atq_node_protocol::order::{Collect, Container, Order};
use atq_task::state::Step;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Longest reason for each container, in characters.
const MAX_REASON: usize = 300;

/// First service number of a collection after the step `collect`: names of the first collection stay taken for
/// seconds after their removal.
const SECOND_COLLECTION: u32 = 50;
/// Time for which a carrier may continue after the end of the collection.
const GRACE: Duration = Duration::from_secs(5);
/// Upper bound of a collection; the receiver ends it earlier.
const MAX_DURATION: Duration = Duration::from_secs(20 * 60);

/// Fetches the results of these nodes, concurrently.
pub(super) async fn fetch(
    core: &Core,
    run: Facts<'_>,
    manager: &Manager,
    nodes: BTreeMap<String, Vec<Member>>,
    receiver: &dyn ResultsReceiver,
) -> Fetched {
    if nodes.is_empty() {
        return Fetched::default();
    }
    let url = match node_url::open(core, manager, false).await {
        Ok(found) => found.url,
        Err(reason) => {
            let reason = format!("its node cannot reach the Director: {reason}");
            let all = nodes.values().flatten();
            let problems = all.map(|one| (one.source, reason.clone())).collect();
            return Fetched {
                problems,
                ..Fetched::default()
            };
        }
    };
    remove_old(core, run).await;
    let first = match run.state.step > Step::Collect {
        true => SECOND_COLLECTION,
        false => 1,
    };
    let each = nodes
        .into_iter()
        .zip(first..)
        .map(|((node, wanted), number)| {
            let plan = plan(core, run, &url, number, &node, &wanted);
            from_node(core, run, plan, node, wanted, receiver)
        });
    let (problems, clocks): (Vec<_>, Vec<_>) = join_all(each).await.into_iter().unzip();
    Fetched {
        problems: problems.into_iter().flatten().collect(),
        clocks: clocks.into_iter().flatten().collect(),
    }
}

/// Removes the collectors of a collection that a restart interrupted: they cannot reach the Director any more.
async fn remove_old(core: &Core, run: Facts<'_>) {
    let services = match core.swarm.services(&core.labels(run)).await {
        Ok(services) => services,
        Err(error) => {
            tracing::debug!(task = %run.spec.name, %error, "cannot list old collectors; clean-up will remove them");
            return;
        }
    };
    for service in services {
        if role_of(&service.labels) != Some(Role::Collector) {
            continue;
        }
        if let Err(error) = core.remove_service(&service.id).await {
            tracing::debug!(task = %run.spec.name, %error, "cannot remove an old collector; clean-up will remove it");
        }
    }
}

fn plan(
    core: &Core,
    run: Facts<'_>,
    url: &str,
    number: u32,
    node: &str,
    wanted: &[Member],
) -> ServicePlan {
    let containers = wanted.iter().filter_map(|one| {
        Some(Container {
            id: one.container.clone()?,
            source: one.source.to_string(),
        })
    });
    let settings = &core.settings;
    let plan = CarrierPlan {
        role: Role::Collector,
        number,
        image: &settings.carrier_image,
        order: Order::Collect(Collect {
            url: url.to_owned(),
            certificate: Some(core.node_door.certificate().to_owned()),
            run: run.state.run.clone(),
            containers: containers.collect(),
            seconds: MAX_DURATION.as_secs(),
        }),
        errand: Some(Errand::Collect { node }),
        mounts: vec![socket_mount(&settings.node_docker_socket)],
        scale: Scale::Replicas(1),
        constraints: vec![format!("node.id=={node}")],
    };
    core.plan(run).carrier(plan, &core.carrier_secret(run))
}

/// The problems of these containers, and the clock offset of their node in milliseconds.
async fn from_node(
    core: &Core,
    run: Facts<'_>,
    plan: ServicePlan,
    node: String,
    wanted: Vec<Member>,
    receiver: &dyn ResultsReceiver,
) -> (Vec<(Source, String)>, Option<(String, i64)>) {
    let deadline = Deadline::after(MAX_DURATION);
    let outcomes = tokio::select! {
        outcomes = node_job::run(&*core.swarm, &plan, deadline) => Some(outcomes),
        () = wait_until_over(receiver) => None,
    };
    let problem = match &outcomes {
        None => Some(receiver.too_late()),
        Some(Err(error)) => Some(error.to_string()),
        Some(Ok(outcomes)) => outcomes.iter().find_map(NodeOutcome::problem),
    };
    if let Some(problem) = &problem {
        tracing::warn!(task = %run.spec.name, node, problem, "cannot fetch results from a node");
    }
    let all = outcomes.iter().flatten().flatten();
    let mut clocks = all.filter_map(|outcome| outcome.report.as_ref().ok()?.clock_offset_ms);
    let clock = clocks.next().map(|millis| (node, millis));
    // A carrier's problem names those of all its containers.
    let problem = problem.unwrap_or_else(|| "its node sent no results".to_owned());
    let problem: String = problem.chars().take(MAX_REASON).collect();
    let problems = wanted.iter().map(|one| (one.source, problem.clone()));
    (problems.collect(), clock)
}

/// Returns when no more results can arrive.
async fn wait_until_over(receiver: &dyn ResultsReceiver) {
    while Instant::now() < receiver.end() + GRACE {
        sleep_until(receiver.end() + GRACE).await;
    }
}
