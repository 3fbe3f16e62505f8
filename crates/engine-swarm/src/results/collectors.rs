//! Results from other nodes than the manager's: Docker gives files of a container only on its own
//! node, so one carrier on each of these nodes sends them to the Director.

use crate::core::Core;
use crate::errand::{self, Carried};
use crate::node_url::url_for_nodes;
use crate::plan::{CarrierPlan, Scale, ServicePlan, socket_mount};
use crate::port::{Manager, role_of};
use atq_engine::{Deadline, Facts, Fetched, Member, Role, Source, Taker};
use atq_node_protocol::order::{Collect, Container, Order};
use atq_task::state::Step;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Characters of a reason that are shown for each container.
const SHOWN: usize = 300;

/// The look for results after the step `collect` takes other names: those of the first conflict for
/// seconds after their removal.
const SECOND_LOOK: u32 = 50;
/// How long a carrier may take beyond the end of the look.
const BEYOND: Duration = Duration::from_secs(5);
/// Longest look there can be; the taker ends it before.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// Has the results of these nodes sent, all at once.
pub(super) async fn fetch(
    core: &Core,
    run: Facts<'_>,
    manager: &Manager,
    nodes: BTreeMap<String, Vec<Member>>,
    taker: &dyn Taker,
) -> Fetched {
    if nodes.is_empty() {
        return Fetched::default();
    }
    let url = match url_for_nodes(&core.settings, manager) {
        Ok(url) => url,
        Err(reason) => {
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
        true => SECOND_LOOK,
        false => 1,
    };
    let each = nodes
        .into_iter()
        .zip(first..)
        .map(|((node, wanted), number)| {
            let plan = plan(core, run, &url, number, &node, &wanted);
            from_node(core, run, plan, node, wanted, taker)
        });
    let (problems, clocks): (Vec<_>, Vec<_>) = join_all(each).await.into_iter().unzip();
    Fetched {
        problems: problems.into_iter().flatten().collect(),
        clocks: clocks.into_iter().flatten().collect(),
    }
}

/// Those of a look that a restart cut off do not reach the Director any more.
async fn remove_old(core: &Core, run: Facts<'_>) {
    let services = core.swarm.services(&core.labels(run)).await;
    for service in services.unwrap_or_default() {
        if role_of(&service.labels) != Some(Role::Collector) {
            continue;
        }
        if let Err(error) = core.remove_service(&service.id).await {
            tracing::debug!(task = %run.spec.name, %error, "an old collector is left to clean-up");
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
            run: run.state.run.clone(),
            containers: containers.collect(),
            seconds: LONGEST.as_secs(),
        }),
        mounts: vec![socket_mount(&settings.node_docker_socket)],
        scale: Scale::Replicas(1),
        constraints: vec![format!("node.id=={node}")],
    };
    core.plan(run).carrier(plan, &run.state.token)
}

/// The problems of these containers, and how far ahead the clock of their node is.
async fn from_node(
    core: &Core,
    run: Facts<'_>,
    plan: ServicePlan,
    node: String,
    wanted: Vec<Member>,
    taker: &dyn Taker,
) -> (Vec<(Source, String)>, Option<(String, i64)>) {
    let deadline = Deadline::after(LONGEST);
    let carried = tokio::select! {
        carried = errand::carry(&*core.swarm, &plan, deadline) => Some(carried),
        () = over(taker) => None,
    };
    let problem = match &carried {
        None => Some(taker.too_late()),
        Some(Err(error)) => Some(error.to_string()),
        Some(Ok(carried)) => carried.iter().find_map(Carried::problem),
    };
    if let Some(problem) = &problem {
        tracing::warn!(task = %run.spec.name, node, problem, "results could not be fetched from a node");
    }
    let words = carried.iter().flatten().flatten();
    let mut clocks = words.filter_map(|carried| carried.words.as_ref().ok()?.clock_offset_ms);
    let clock = clocks.next().map(|millis| (node, millis));
    // That of a carrier names the problems of all its containers.
    let problem = problem.unwrap_or_else(|| "its node sent none".to_owned());
    let problem: String = problem.chars().take(SHOWN).collect();
    let problems = wanted.iter().map(|one| (one.source, problem.clone()));
    (problems.collect(), clock)
}

/// Returns when nothing more can arrive.
async fn over(taker: &dyn Taker) {
    while Instant::now() < taker.end() + BEYOND {
        sleep_until(taker.end() + BEYOND).await;
    }
}
