//! The sidecar of a run: started first, because in the crowd of the workers it would get its turn
//! last (ARCHITECTURE.md, How Docker Swarm behaves).

use crate::core::Core;
use crate::members::{self, of_service, tasks_of_run};
use crate::port::TaskState;
use crate::start::ensure_service;
use crate::{image_reason, network};
use atq_engine::{Course, Deadline, Facts, Role, StepError, StepResult};
use atq_task::event::{Event, FailureCode};
use atq_task::state::Step;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(20);
/// A Swarm task that is `new` for so long gets no address: the subnet overlaps or is exhausted, and
/// Docker does not say so (ARCHITECTURE.md, How Docker Swarm behaves).
const NO_ADDRESS: Duration = Duration::from_secs(5);
/// One network is given up; when the next one is no better, the cause is another.
const MAX_SUBNETS: u32 = 2;

enum Start {
    Placed,
    NoAddress,
}

/// Creates the sidecar and waits until it has an address and a node, which takes a tenth of a second.
/// Then it is the first in the line, and the workers need not wait until it runs.
pub(crate) async fn start(core: &Core, run: &mut dyn Course) -> StepResult {
    let deadline = Deadline::after(run.patience(1));
    loop {
        if run.facts().state.network.is_none() {
            another_network(core, run, deadline).await?;
        }
        let service = create(core, run, deadline).await?;
        match wait(core, run, &service, deadline).await? {
            Start::Placed => return Ok(Event::DiscoveryPlaced { service }),
            Start::NoAddress => give_up_network(core, run, &service, deadline).await?,
        }
    }
}

async fn create(
    core: &Core,
    run: &mut dyn Course,
    deadline: Deadline,
) -> Result<String, StepError> {
    let manager = run.patiently(deadline, || core.swarm.manager()).await?;
    let nodes = run.patiently(deadline, || core.swarm.nodes()).await?;
    // A drained manager takes no containers; then any node will do.
    let takes_containers = nodes
        .iter()
        .any(|node| node.id == manager.node_id && node.active);
    let node = takes_containers.then_some(manager.node_id.as_str());
    let facts = run.facts();
    let image = &core.settings.discovery_image;
    let plan = core.plan(facts).discovery(image, &facts.state.token, node);
    ensure_service(core, run, deadline, plan).await
}

async fn wait(
    core: &Core,
    run: &mut dyn Course,
    service: &str,
    deadline: Deadline,
) -> Result<Start, StepError> {
    let begun = Instant::now();
    let mut seen = "no Swarm task yet".to_owned();
    loop {
        let tasks = tasks_of_run(core, run.facts(), deadline).await?;
        let tasks = tasks.unwrap_or_default();
        if let Some(task) = of_service(&tasks, Some(service)).into_iter().next() {
            seen = members::reason(&task);
            if task.state.is_terminal() {
                return Err(ended(core, run.facts(), &seen).await);
            }
            if task.state > TaskState::Pending {
                return Ok(Start::Placed);
            }
            if task.state == TaskState::New && task.error.is_none() && begun.elapsed() >= NO_ADDRESS
            {
                return Ok(Start::NoAddress);
            }
            if members::is_unplaceable(&task, begun.elapsed()) {
                let message = format!("the sidecar finds no node: {seen}");
                return Err(failed(run.facts(), message, ""));
            }
        }
        if deadline.passed() {
            let message = format!(
                "the sidecar got no node within {} s: {seen}",
                deadline.seconds()
            );
            return Err(failed(run.facts(), message, ""));
        }
        run.pause(PAUSE).await?;
    }
}

/// Another sidecar in place of one that cannot be found any more.
pub(crate) async fn replace(
    core: &Core,
    run: &mut dyn Course,
    deadline: Deadline,
) -> Result<(), StepError> {
    tracing::warn!(task = %run.facts().spec.name, "the sidecar cannot be found; another one takes its place");
    if let Some(service) = run.facts().state.discovery.clone() {
        remove(core, run, &service, deadline).await?;
    }
    let service = create(core, run, deadline).await?;
    run.note(Event::DiscoveryPlaced { service }).await
}

async fn remove(
    core: &Core,
    run: &mut dyn Course,
    service: &str,
    deadline: Deadline,
) -> Result<(), StepError> {
    run.patiently(deadline, || core.remove_service(service))
        .await
}

async fn give_up_network(
    core: &Core,
    run: &mut dyn Course,
    service: &str,
    deadline: Deadline,
) -> Result<(), StepError> {
    if run.facts().state.subnets_tried >= MAX_SUBNETS {
        let message = "Swarm gave the sidecar no address within 5 s, and said no reason";
        let hint = "usually the subnet overlaps with another network, or its addresses are used up; `subnetPool` names other ones";
        return Err(run.failed(FailureCode::NoAddresses, message, hint));
    }
    remove(core, run, service, deadline).await?;
    tracing::warn!(task = %run.facts().spec.name, subnet = ?run.facts().state.subnet, role = %Role::Discovery, "no addresses; trying another subnet");
    another_network(core, run, deadline).await
}

/// The network that is given up is removed with the run.
async fn another_network(
    core: &Core,
    run: &mut dyn Course,
    deadline: Deadline,
) -> Result<(), StepError> {
    // A crash between the choice and the creation: the choice stands.
    let state = run.facts().state;
    let chosen = state.subnet.filter(|_| state.network.is_none());
    let id = network::create(core, run, deadline, chosen).await?;
    run.note(Event::NetworkCreated { id }).await
}

/// A failure of the sidecar, whichever step finds it: it starts beside the workers.
pub(crate) fn failed(
    run: Facts<'_>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> StepError {
    run.failed_in(Step::Discovery, FailureCode::DiscoveryFailed, message, hint)
}

/// The failure that a sidecar which has ended means.
pub(crate) async fn ended(core: &Core, run: Facts<'_>, seen: &str) -> StepError {
    let image = &core.settings.discovery_image;
    let hint = match seen.contains("No such image") {
        true => format!(
            "is the image `{image}` on the node, or can it be pulled? `discoveryImage` names another one"
        ),
        false => String::new(),
    };
    let message = format!("the sidecar does not run: {seen}");
    failed(run, image_reason::explain(core, image, message).await, hint)
}
