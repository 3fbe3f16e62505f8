//! The network of a run.

use crate::core::Core;
use crate::error::SwarmError;
use crate::plan::{Labels, NetworkPlan, prefix_for};
use crate::port::Swarm;
use crate::services::is_ours;
use atq_engine::{Deadline, Facts, RunContext, StepError, StepResult};
use atq_task::event::{Event, FailureCode};
use ipnet::Ipv4Net;

/// Creates the run's network.
pub(crate) async fn prepare(core: &Core, run: &mut dyn RunContext) -> StepResult {
    let deadline = Deadline::after(run.orchestration_timeout(1));
    let subnet = run.facts().state.subnet;
    let id = create(core, run, deadline, subnet).await?;
    Ok(Event::NetworkCreated { id })
}

/// Creates a network in `subnet`, or in a free one that is recorded first. Returns its id.
pub(crate) async fn create(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
    subnet: Option<Ipv4Net>,
) -> Result<String, StepError> {
    let subnet = match subnet {
        Some(subnet) => subnet,
        None => choose(core, run, deadline).await?,
    };
    let plan = core.plan(run.facts()).network(subnet);
    let ours = core.labels(run.facts());
    run.retry(deadline, || create_or_find(&*core.swarm, &plan, &ours))
        .await
}

/// Chooses a subnet and records it before it is used.
async fn choose(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
) -> Result<Ipv4Net, StepError> {
    let networks = run.retry(deadline, || core.swarm.networks()).await?;
    let nodes = run.retry(deadline, || core.swarm.nodes()).await?;
    let networks = networks.into_iter();
    let taken: Vec<Ipv4Net> = networks.flat_map(|network| network.subnets).collect();
    let pool = core.settings.subnet_pool;
    let spec = run.facts().spec;
    let containers = spec.worker.replicas.saturating_add(spec.master.replicas);
    let prefix = prefix_for(containers, u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    let holder = holder(run.facts());
    let Some(subnet) = core.subnets.choose(&holder, pool, prefix, &taken) else {
        let message = format!("the pool `{pool}` has no free /{prefix}");
        let hint = "remove unused networks, or enlarge `subnetPool`";
        return Err(run.failed(FailureCode::SubnetsExhausted, &message, hint));
    };
    run.note(Event::SubnetChosen { subnet }).await?;
    Ok(subnet)
}

/// The key under which a run reserves subnets: runs of two tasks may have the same suffix.
pub(crate) fn holder(run: Facts<'_>) -> String {
    format!("{}/{}", run.spec.name, run.state.run)
}

async fn create_or_find(
    swarm: &dyn Swarm,
    plan: &NetworkPlan,
    ours: &Labels,
) -> Result<String, SwarmError> {
    let (what, reason) = match swarm.create_network(plan).await {
        Err(SwarmError::Conflict { what, reason }) => (what, reason),
        other => return other,
    };
    let mut networks = swarm.networks().await?.into_iter();
    match networks.find(|network| network.name == plan.name) {
        Some(network) if is_ours(&network.labels, ours) => Ok(network.id),
        Some(_) => Err(SwarmError::Conflict { what, reason }),
        // A name stays taken for a moment after its network was removed.
        None => Err(SwarmError::InUse { what, reason }),
    }
}
