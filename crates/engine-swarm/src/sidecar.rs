//! The sidecar of a run. It is started first: a container that is created together with many workers starts last
//! (ARCHITECTURE.md, How Docker Swarm behaves).

use crate::core::Core;
use crate::members::{self, of_service, tasks_of_run};
use crate::port::TaskState;
use crate::start::ensure_service;
use crate::{image_reason, network};
use atq_engine::{Deadline, Facts, Role, RunContext, StepError, StepResult};
use atq_task::event::{Event, FailureCode};
use atq_task::state::Step;
use std::time::Duration;
use tokio::time::Instant;

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// A Swarm task that stays `new` for this long gets no address: the subnet overlaps or is exhausted, and Docker
/// reports no error (ARCHITECTURE.md, How Docker Swarm behaves).
const NO_ADDRESS_AFTER: Duration = Duration::from_secs(5);
/// The same for the last subnet: a manager that starts many containers also assigns addresses late.
const NO_ADDRESS_IN_LAST_SUBNET_AFTER: Duration = Duration::from_secs(15);
/// Number of networks that are tried. If the second one fails too, the cause lies elsewhere.
const MAX_SUBNETS: u32 = 2;

enum Start {
    Placed,
    NoAddress,
}

/// Creates the sidecar and waits until it has an address and a node, which takes a tenth of a second. From then on it
/// starts before the workers, which need not wait until it runs.
pub(crate) async fn start(core: &Core, run: &mut dyn RunContext) -> StepResult {
    let deadline = Deadline::after(run.orchestration_timeout(1));
    loop {
        if run.facts().state.network.is_none() {
            another_network(core, run, deadline).await?;
        }
        let service = create(core, run, deadline).await?;
        match wait(core, run, &service, deadline).await? {
            Start::Placed => return Ok(Event::DiscoveryPlaced { service }),
            Start::NoAddress => abandon_network(core, run, &service, deadline).await?,
        }
    }
}

async fn create(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
) -> Result<String, StepError> {
    let manager = run.retry(deadline, || core.swarm.manager()).await?;
    let nodes = run.retry(deadline, || core.swarm.nodes()).await?;
    // A drained manager accepts no containers; then any node is used.
    let accepts_containers = nodes
        .iter()
        .any(|node| node.id == manager.node_id && node.active);
    let node = accepts_containers.then_some(manager.node_id.as_str());
    let facts = run.facts();
    let image = &core.settings.discovery_image;
    let plan = core.plan(facts).discovery(image, &facts.state.token, node);
    ensure_service(core, run, deadline, plan).await
}

async fn wait(
    core: &Core,
    run: &mut dyn RunContext,
    service: &str,
    deadline: Deadline,
) -> Result<Start, StepError> {
    let started = Instant::now();
    let mut last_state = "no Swarm task yet".to_owned();
    loop {
        let tasks = tasks_of_run(core, run.facts(), deadline).await?;
        let tasks = tasks.unwrap_or_default();
        if let Some(task) = of_service(&tasks, Some(service)).into_iter().next() {
            last_state = members::reason(&task);
            if task.state.is_terminal() {
                return Err(ended(core, run.facts(), &last_state).await);
            }
            if task.state > TaskState::Pending {
                return Ok(Start::Placed);
            }
            if task.state == TaskState::New
                && task.error.is_none()
                && started.elapsed() >= no_address_after(run.facts())
            {
                return Ok(Start::NoAddress);
            }
            if members::is_unplaceable(&task, started.elapsed()) {
                let message = format!("no node accepts the sidecar: {last_state}");
                return Err(failed(run.facts(), message, ""));
            }
        }
        if deadline.passed() {
            let message = format!(
                "the sidecar got no node within {} s: {last_state}",
                deadline.seconds()
            );
            return Err(failed(run.facts(), message, ""));
        }
        run.pause(POLL_INTERVAL).await?;
    }
}

fn no_address_after(run: Facts<'_>) -> Duration {
    match run.state.subnets_tried < MAX_SUBNETS {
        true => NO_ADDRESS_AFTER,
        false => NO_ADDRESS_IN_LAST_SUBNET_AFTER,
    }
}

/// Replaces a sidecar that cannot be found any more.
pub(crate) async fn replace(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
) -> Result<(), StepError> {
    tracing::warn!(task = %run.facts().spec.name, "cannot find the sidecar; replacing it");
    if let Some(service) = run.facts().state.discovery.clone() {
        remove(core, run, &service, deadline).await?;
    }
    let service = create(core, run, deadline).await?;
    run.note(Event::DiscoveryPlaced { service }).await
}

async fn remove(
    core: &Core,
    run: &mut dyn RunContext,
    service: &str,
    deadline: Deadline,
) -> Result<(), StepError> {
    run.retry(deadline, || core.remove_service(service)).await
}

async fn abandon_network(
    core: &Core,
    run: &mut dyn RunContext,
    service: &str,
    deadline: Deadline,
) -> Result<(), StepError> {
    if run.facts().state.subnets_tried >= MAX_SUBNETS {
        let message = "Swarm gave the sidecar no address within 15 s and reported no reason";
        let hint = "usually the subnet overlaps with another network, or its addresses are exhausted; `subnetPool` sets another pool";
        return Err(run.failed(FailureCode::NoAddresses, message, hint));
    }
    remove(core, run, service, deadline).await?;
    tracing::warn!(task = %run.facts().spec.name, subnet = ?run.facts().state.subnet, role = %Role::Discovery, "no addresses; trying another subnet");
    another_network(core, run, deadline).await
}

/// Creates another network. The abandoned one is removed with the run.
async fn another_network(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
) -> Result<(), StepError> {
    // After a crash between choice and creation, the recorded subnet is used.
    let state = run.facts().state;
    let chosen = state.subnet.filter(|_| state.network.is_none());
    let id = network::create(core, run, deadline, chosen).await?;
    run.note(Event::NetworkCreated { id }).await
}

/// A failure of the sidecar. Its step is always `discovery`, although a later step may detect it.
pub(crate) fn failed(
    run: Facts<'_>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> StepError {
    run.failed_in(Step::Discovery, FailureCode::DiscoveryFailed, message, hint)
}

/// The failure for a sidecar that has ended.
pub(crate) async fn ended(core: &Core, run: Facts<'_>, state: &str) -> StepError {
    let image = &core.settings.discovery_image;
    let hint = match state.contains("No such image") {
        true => format!(
            "is the image `{image}` on the node, or can it be pulled? `discoveryImage` selects another image"
        ),
        false => String::new(),
    };
    let message = format!("the sidecar does not run: {state}");
    failed(run, image_reason::explain(core, image, message).await, hint)
}
