//! The sidecar of a run: started first, because in the crowd of the workers it would get its turn
//! last (SWARM.md, section 1).

use super::{StepResult, ensure_service, network, of_service, tasks_of_run};
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError};
use crate::swarm::{SwarmError, SwarmTask, TaskState};
use crate::task::event::{Event, FailureCode};
use crate::task::plan::{DISCOVERY_PORT, Role};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(40);
/// A Swarm task that is `new` for so long gets no address: the subnet overlaps or is exhausted, and
/// Docker does not say so (SWARM.md, section 4).
const NO_ADDRESS: Duration = Duration::from_secs(5);
/// How long a Swarm task may find no node before that counts: Swarm looks again within this time.
const UNPLACEABLE: Duration = Duration::from_millis(500);
/// One network is given up; when the next one is no better, the cause is another.
const MAX_SUBNETS: u32 = 2;

enum Start {
    Ready(String),
    NoAddress,
}

/// Starts the sidecar and waits until it answers.
pub async fn discovery(run: &mut Run) -> StepResult {
    let deadline = Deadline::after(run.orchestration_timeout(1));
    loop {
        if run.state.network.is_none() {
            another_network(run, deadline).await?;
        }
        let service = create(run, deadline).await?;
        match wait(run, &service, deadline).await? {
            Start::Ready(endpoint) => return Ok(Event::DiscoveryReady { service, endpoint }),
            Start::NoAddress => give_up_network(run, &service, deadline).await?,
        }
    }
}

async fn create(run: &mut Run, deadline: Deadline) -> Result<String, StepError> {
    let swarm = Arc::clone(&run.shared.swarm);
    let manager = run.docker(deadline, || swarm.manager()).await?;
    let nodes = run.docker(deadline, || swarm.nodes()).await?;
    // A drained manager takes no containers; then any node will do.
    let takes_containers = nodes
        .iter()
        .any(|node| node.id == manager.node_id && node.active);
    let node = takes_containers.then_some(manager.node_id.as_str());
    let plan = run
        .plan()
        .discovery(&run.shared.settings.discovery_image, &run.state.token, node);
    ensure_service(run, deadline, plan).await
}

async fn wait(run: &mut Run, service: &str, deadline: Deadline) -> Result<Start, StepError> {
    let begun = Instant::now();
    let mut seen = "no Swarm task yet".to_owned();
    loop {
        let tasks = tasks_of_run(run).await?.unwrap_or_default();
        if let Some(task) = of_service(&tasks, Some(service)).into_iter().next() {
            seen = describe(&task);
            if task.state.is_terminal() {
                let image = &run.shared.settings.discovery_image;
                let message = format!("the sidecar did not start: {seen}");
                let hint = format!(
                    "is the image `{image}` on the node, or can it be pulled? `discoveryImage` names another one"
                );
                return Err(run.failed(FailureCode::DiscoveryFailed, message, hint));
            }
            if task.state == TaskState::New && task.error.is_none() && begun.elapsed() >= NO_ADDRESS
            {
                return Ok(Start::NoAddress);
            }
            if task.state == TaskState::Pending
                && task.error.is_some()
                && begun.elapsed() >= UNPLACEABLE
            {
                let message = format!("the sidecar finds no node: {seen}");
                return Err(run.failed(FailureCode::DiscoveryFailed, message, ""));
            }
            if let Some(endpoint) = endpoint(run, &task, deadline).await? {
                match run.shared.discovery.healthy(&endpoint).await {
                    Ok(()) => return Ok(Start::Ready(endpoint)),
                    Err(error) => seen = error.to_string(),
                }
            }
        }
        if deadline.passed() {
            let message = format!(
                "the sidecar was not ready after {} s: {seen}",
                deadline.seconds()
            );
            let hint = "when the Director runs in a container, it must be on the `host` network; `discoveryHost` names another address";
            return Err(run.failed(FailureCode::DiscoveryFailed, message, hint));
        }
        run.pause(PAUSE).await?;
    }
}

fn describe(task: &SwarmTask) -> String {
    match &task.error {
        Some(error) => format!("{}: {error}", task.state.as_str()),
        None => task.state.as_str().to_owned(),
    }
}

/// Base URL of a sidecar that runs: on this node the loopback, else the node's address.
async fn endpoint(
    run: &mut Run,
    task: &SwarmTask,
    deadline: Deadline,
) -> Result<Option<String>, StepError> {
    let port = task
        .ports
        .iter()
        .find(|(target, _)| *target == DISCOVERY_PORT)
        .map(|(_, port)| *port);
    let (true, Some(port)) = (task.is_alive(), port) else {
        return Ok(None);
    };
    if let Some(host) = &run.shared.settings.discovery_host {
        return Ok(Some(format!("http://{host}:{port}")));
    }
    let swarm = Arc::clone(&run.shared.swarm);
    let manager = run.docker(deadline, || swarm.manager()).await?;
    if task.node_id.as_ref() == Some(&manager.node_id) {
        return Ok(Some(format!("http://127.0.0.1:{port}")));
    }
    let nodes = run.docker(deadline, || swarm.nodes()).await?;
    let node = nodes
        .iter()
        .find(|node| Some(&node.id) == task.node_id.as_ref());
    Ok(node.map(|node| format!("http://{}:{port}", node.address)))
}

async fn give_up_network(
    run: &mut Run,
    service: &str,
    deadline: Deadline,
) -> Result<(), StepError> {
    if run.state.subnets_tried >= MAX_SUBNETS {
        let message = "Swarm gave the sidecar no address within 5 s, and said no reason";
        let hint = "usually the subnet overlaps with another network, or its addresses are used up; `subnetPool` names other ones";
        return Err(run.failed(FailureCode::NoAddresses, message, hint));
    }
    let swarm = Arc::clone(&run.shared.swarm);
    run.docker(deadline, || async {
        match swarm.remove_service(service).await {
            Err(SwarmError::NotFound { .. }) => Ok(()),
            other => other,
        }
    })
    .await?;
    tracing::warn!(task = %run.spec.name, subnet = ?run.state.subnet, role = %Role::Discovery, "no addresses; trying another subnet");
    another_network(run, deadline).await
}

/// The network that is given up is removed with the run.
async fn another_network(run: &mut Run, deadline: Deadline) -> Result<(), StepError> {
    // A crash between the choice and the creation: the choice stands.
    let chosen = run.state.subnet.filter(|_| run.state.network.is_none());
    let id = network::create(run, deadline, chosen).await?;
    let bug = |run: &Run, bug: String| run.failed(FailureCode::Internal, bug, "");
    run.record(Event::NetworkCreated { id })
        .await
        .map_err(|error| bug(run, error.to_string()))
}
