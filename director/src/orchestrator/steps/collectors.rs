//! Results from other nodes than the manager's: Docker gives files of a container only on its own
//! node, so one carrier on each of these nodes sends them to the Director.

use super::results::{kept, unread, what_is_missing};
use crate::evidence::Source;
use crate::orchestrator::carrier::{self, Carried};
use crate::orchestrator::containers::Logged;
use crate::orchestrator::intake::Intake;
use crate::orchestrator::node_url::url_for_nodes;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::Deadline;
use crate::plan::{CarrierPlan, Role, Scale, ServicePlan, socket_mount};
use crate::swarm::{EngineError, Manager, role_of};
use crate::task::state::Step;
use atq_node_protocol::order::{Collect, Container, Order};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Characters of a reason that are shown for each container.
const SHOWN: usize = 300;

/// The look for results after the step `collect` takes other names: those of the first conflict for
/// seconds after their removal.
const SECOND_LOOK: u32 = 50;
/// How long a carrier may take beyond the end of the look.
const BEYOND: Duration = Duration::from_secs(5);
/// Longest look there can be; the intake ends it before.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// Fetches from all these nodes at once, and says what is missing.
pub async fn fetch(
    run: &Run,
    manager: &Manager,
    nodes: BTreeMap<String, Vec<Logged>>,
    intake: &Arc<Intake>,
) -> Vec<String> {
    if nodes.is_empty() {
        return Vec::new();
    }
    let url = match url_for_nodes(&run.shared.settings, manager) {
        Ok(url) => url,
        Err(reason) => {
            let all = nodes.values().flatten();
            return all.map(|one| unread(one.source, &reason)).collect();
        }
    };
    remove_old(run).await;
    let first = match run.state.step > Step::Collect {
        true => SECOND_LOOK,
        false => 1,
    };
    let each = nodes
        .into_iter()
        .zip(first..)
        .map(|((node, wanted), number)| {
            let plan = plan(run, &url, number, &node, &wanted);
            from_node(run, plan, node, wanted, intake)
        });
    let (missing, clocks): (Vec<_>, Vec<_>) = join_all(each).await.into_iter().unzip();
    run.note_clocks(clocks.into_iter().flatten()).await;
    missing.into_iter().flatten().collect()
}

/// Those of a look that a restart cut off do not reach the Director any more.
async fn remove_old(run: &Run) {
    let services = run.shared.swarm.services(&run.labels()).await;
    for service in services.unwrap_or_default() {
        if role_of(&service.labels) != Some(Role::Collector) {
            continue;
        }
        match run.shared.swarm.remove_service(&service.id).await {
            Ok(()) | Err(EngineError::NotFound { .. }) => {}
            Err(error) => {
                tracing::debug!(task = %run.spec.name, %error, "an old collector is left to clean-up");
            }
        }
    }
}

fn plan(run: &Run, url: &str, number: u32, node: &str, wanted: &[Logged]) -> ServicePlan {
    let containers = wanted.iter().filter_map(|one| {
        Some(Container {
            id: one.task.container_id.clone()?,
            source: one.source.to_string(),
        })
    });
    let settings = &run.shared.settings;
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
    run.plan().carrier(plan, &run.state.token)
}

/// What is missing of these containers, and how far ahead the clock of their node is.
async fn from_node(
    run: &Run,
    plan: ServicePlan,
    node: String,
    wanted: Vec<Logged>,
    intake: &Arc<Intake>,
) -> (Vec<String>, Option<(String, i64)>) {
    let deadline = Deadline::after(LONGEST);
    let carried = tokio::select! {
        carried = carrier::carry(&*run.shared.swarm, &plan, deadline) => Some(carried),
        () = over(intake) => None,
    };
    let problem = match &carried {
        None => Some(intake.too_late()),
        Some(Err(error)) => Some(error.to_string()),
        Some(Ok(carried)) => carried.iter().find_map(Carried::problem),
    };
    if let Some(problem) = &problem {
        tracing::warn!(task = %run.spec.name, node, problem, "results could not be fetched from a node");
    }
    let kept = kept(run).await;
    let told = intake.problems();
    let missing = |source: Source| match kept.iter().find(|kept| kept.source == source) {
        Some(kept) => what_is_missing(kept),
        None => {
            let reason = told.get(&source).or(problem.as_ref());
            let reason = reason.map_or("its node sent none", String::as_str);
            // That of a carrier names the problems of all its containers.
            let reason: String = reason.chars().take(SHOWN).collect();
            Some(unread(source, &reason))
        }
    };
    let missing = wanted.iter().filter_map(|one| missing(one.source));
    let words = carried.iter().flatten().flatten();
    let mut clocks = words.filter_map(|carried| carried.words.as_ref().ok()?.clock_offset_ms);
    let clock = clocks.next().map(|millis| (node, millis));
    (missing.collect(), clock)
}

/// Returns when nothing more can arrive.
async fn over(intake: &Intake) {
    while Instant::now() < intake.end() + BEYOND {
        sleep_until(intake.end() + BEYOND).await;
    }
}
