//! The network of a run.

use crate::orchestrator::run::Run;
use crate::orchestrator::services::is_ours;
use crate::orchestrator::wait::{Deadline, StepError, StepResult};
use crate::plan::{Labels, NetworkPlan, prefix_for};
use crate::swarm::{EngineError, Swarm};
use crate::task::event::{Event, FailureCode};
use ipnet::Ipv4Net;
use std::sync::Arc;

/// Creates the run's network.
pub async fn network(run: &mut Run) -> StepResult {
    let deadline = Deadline::after(run.orchestration_timeout(1));
    let id = create(run, deadline, run.state.subnet).await?;
    Ok(Event::NetworkCreated { id })
}

/// Creates a network in `subnet`, or in a free one that is recorded first; gives its id.
pub async fn create(
    run: &mut Run,
    deadline: Deadline,
    subnet: Option<Ipv4Net>,
) -> Result<String, StepError> {
    let subnet = match subnet {
        Some(subnet) => subnet,
        None => choose(run, deadline).await?,
    };
    let plan = run.plan().network(subnet);
    let swarm = Arc::clone(&run.shared.swarm);
    let ours = run.labels();
    run.docker(deadline, || create_or_find(&*swarm, &plan, &ours))
        .await
}

/// Chooses a subnet and records it, before anything is created with it.
async fn choose(run: &mut Run, deadline: Deadline) -> Result<Ipv4Net, StepError> {
    let swarm = Arc::clone(&run.shared.swarm);
    let networks = run.docker(deadline, || swarm.networks()).await?;
    let nodes = run.docker(deadline, || swarm.nodes()).await?;
    let taken: Vec<Ipv4Net> = networks
        .into_iter()
        .flat_map(|network| network.subnets)
        .collect();
    let pool = run.shared.settings.subnet_pool;
    let containers = run
        .spec
        .worker
        .replicas
        .saturating_add(run.spec.master.replicas);
    let prefix = prefix_for(containers, u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    let Some(held) = run.shared.subnets.choose(pool, prefix, &taken) else {
        let message = format!("no free /{prefix} is left in the pool `{pool}`");
        return Err(run.failed(
            FailureCode::SubnetsExhausted,
            message,
            "remove networks that nobody needs, or widen `subnetPool`",
        ));
    };
    let subnet = held.subnet;
    run.subnets.push(held);
    run.record(Event::SubnetChosen { subnet })
        .await
        .map_err(|bug| run.failed(FailureCode::Internal, bug.to_string(), ""))?;
    Ok(subnet)
}

async fn create_or_find(
    swarm: &dyn Swarm,
    plan: &NetworkPlan,
    ours: &Labels,
) -> Result<String, EngineError> {
    let (what, reason) = match swarm.create_network(plan).await {
        Err(EngineError::Conflict { what, reason }) => (what, reason),
        other => return other,
    };
    let networks = swarm.networks().await?;
    match networks
        .into_iter()
        .find(|network| network.name == plan.name)
    {
        Some(network) if is_ours(&network.labels, ours) => Ok(network.id),
        Some(_) => Err(EngineError::Conflict { what, reason }),
        // A name is free again only a moment after its network was removed.
        None => Err(EngineError::InUse { what, reason }),
    }
}
