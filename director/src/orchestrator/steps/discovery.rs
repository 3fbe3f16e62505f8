//! The sidecar of a run: started first, because in the crowd of the workers it would get its turn
//! last (ARCHITECTURE.md, How Docker Swarm behaves).

use super::{ensure_service, judge, look_up, network, of_service, tasks_of_run};
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError, StepResult};
use crate::plan::Role;
use crate::swarm::{EngineError, TaskState};
use crate::task::event::{Event, FailureCode};
use std::sync::Arc;
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
pub async fn discovery(run: &mut Run) -> StepResult {
    let deadline = Deadline::after(run.orchestration_timeout(1));
    loop {
        if run.state.network.is_none() {
            another_network(run, deadline).await?;
        }
        let service = create(run, deadline).await?;
        match wait(run, &service, deadline).await? {
            Start::Placed => return Ok(Event::DiscoveryPlaced { service }),
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
        let tasks = tasks_of_run(run, deadline).await?.unwrap_or_default();
        if let Some(task) = of_service(&tasks, Some(service)).into_iter().next() {
            seen = judge::reason(&task);
            if task.state.is_terminal() {
                return Err(look_up::ended(run, &seen).await);
            }
            if task.state > TaskState::Pending {
                return Ok(Start::Placed);
            }
            if task.state == TaskState::New && task.error.is_none() && begun.elapsed() >= NO_ADDRESS
            {
                return Ok(Start::NoAddress);
            }
            if judge::is_unplaceable(&task, begun.elapsed()) {
                let message = format!("the sidecar finds no node: {seen}");
                return Err(run.sidecar_failed(message, ""));
            }
        }
        if deadline.passed() {
            let message = format!(
                "the sidecar got no node within {} s: {seen}",
                deadline.seconds()
            );
            return Err(run.sidecar_failed(message, ""));
        }
        run.pause(PAUSE).await?;
    }
}

/// Another sidecar in place of one that cannot be found any more.
pub async fn replace(run: &mut Run, deadline: Deadline) -> Result<(), StepError> {
    tracing::warn!(task = %run.spec.name, "the sidecar cannot be found; another one takes its place");
    if let Some(service) = run.state.discovery.clone() {
        remove(run, &service, deadline).await?;
    }
    let service = create(run, deadline).await?;
    run.record(Event::DiscoveryPlaced { service })
        .await
        .map_err(|bug| run.failed(FailureCode::Internal, bug.to_string(), ""))
}

async fn remove(run: &mut Run, service: &str, deadline: Deadline) -> Result<(), StepError> {
    let swarm = Arc::clone(&run.shared.swarm);
    run.docker(deadline, || async {
        match swarm.remove_service(service).await {
            Err(EngineError::NotFound { .. }) => Ok(()),
            other => other,
        }
    })
    .await
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
    remove(run, service, deadline).await?;
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
