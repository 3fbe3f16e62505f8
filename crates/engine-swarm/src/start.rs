//! Starts the services of a run.

use crate::core::Core;
use crate::delivery::exclude_nodes_without_bundle;
use crate::plan::{Mount, ServicePlan, shared_bundle};
use crate::run_volumes;
use crate::services::create_or_find;
use atq_engine::{Deadline, Facts, Part, RunContext, StepError};
use atq_task::event::FailureCode;
use atq_task::spec::{Delivery, ServiceSpec};
use ipnet::Ipv4Net;

/// Creates the service of a part, or finds it.
pub(crate) async fn start(
    core: &Core,
    run: &mut dyn RunContext,
    part: Part<'_>,
    deadline: Deadline,
) -> Result<String, StepError> {
    let plan = plan(core, run.facts(), part)?;
    ensure_service(core, run, deadline, plan).await
}

fn plan(core: &Core, run: Facts<'_>, part: Part<'_>) -> Result<ServicePlan, StepError> {
    let subnet = subnet_of(run)?;
    let spec = match part {
        Part::Master => &run.spec.master,
        Part::Workers | Part::Readiness { .. } | Part::Wait { .. } => &run.spec.worker,
    };
    let bundle = bundle_of(core, run, spec)?;
    let workers = &run.state.addresses;
    let plan = core.plan(run);
    Ok(match part {
        Part::Workers => plan.workers(subnet, bundle),
        Part::Master => plan.master(subnet, bundle, workers),
        Part::Readiness { command, seconds } => {
            plan.readiness(command, seconds, subnet, bundle, workers)
        }
        Part::Wait { command, attempt } => plan.wait(command, attempt, subnet, bundle, workers),
    })
}

/// The mounts of a service's bundle: the volumes to which it was delivered, or its directory, which must still exist.
fn bundle_of(core: &Core, run: Facts<'_>, service: &ServiceSpec) -> Result<Vec<Mount>, StepError> {
    if run.spec.delivery == Delivery::Push {
        let volumes = core.plan(run).volumes(service);
        return Ok(volumes.map_or_else(Vec::new, |volumes| volumes.mounts()));
    }
    let Some(id) = &service.fileid else {
        return Ok(Vec::new());
    };
    match core.bundles.directory(id) {
        Some(path) if !path.is_dir() => {
            let message = format!("the bundle `{id}` is missing in `{}`", path.display());
            Err(run.failed(FailureCode::BundleMissing, &message, "upload it again"))
        }
        path => Ok(path.map(shared_bundle).into_iter().collect()),
    }
}

/// The subnet of the run's network.
fn subnet_of(run: Facts<'_>) -> Result<Ipv4Net, StepError> {
    run.state
        .subnet
        .ok_or_else(|| run.failed(FailureCode::Internal, "no subnet is recorded", ""))
}

/// Creates a service, or finds it when an earlier attempt of this run has created it.
pub(crate) async fn ensure_service(
    core: &Core,
    run: &mut dyn RunContext,
    deadline: Deadline,
    plan: ServicePlan,
) -> Result<String, StepError> {
    let mut plan = exclude_nodes_without_bundle(core, run, deadline, plan).await?;
    let bounds = core.settings.bounds;
    plan.pids = bounds.pids;
    // The bound may have been lowered since the definition was accepted.
    plan.stop_grace = plan.stop_grace.min(bounds.stop_grace);
    run_volumes::note_nodes(core, run, deadline, &plan).await?;
    let ours = core.labels(run.facts());
    let made = run
        .retry(deadline, || create_or_find(&*core.swarm, &plan, &ours))
        .await?;
    Ok(made.id)
}
