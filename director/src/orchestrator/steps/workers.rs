//! The workers' service.

use super::ensure_service;
use crate::orchestrator::run::Run;
use crate::orchestrator::wait::{Deadline, StepError, StepResult};
use crate::plan::{Mount, shared_bundle};
use crate::task::event::{Event, FailureCode};
use crate::task::spec::{Delivery, ServiceSpec};
use ipnet::Ipv4Net;

/// Creates the workers' service.
pub async fn workers(run: &mut Run) -> StepResult {
    let deadline = Deadline::after(run.orchestration_timeout(run.spec.worker.replicas));
    let bundle = bundle_of(run, &run.spec.worker)?;
    let plan = run.plan().workers(subnet_of(run)?, bundle);
    let service = ensure_service(run, deadline, plan).await?;
    Ok(Event::WorkersCreated { service })
}

/// The mounts of a service's bundle: the volumes to which it was brought, or its directory, which must
/// still be there.
pub fn bundle_of(run: &Run, service: &ServiceSpec) -> Result<Vec<Mount>, StepError> {
    if run.spec.delivery == Delivery::Push {
        let volumes = run.plan().volumes(service);
        return Ok(volumes.map_or_else(Vec::new, |volumes| volumes.mounts()));
    }
    match run.bundle(service.fileid.as_ref()) {
        Some(path) if !path.is_dir() => {
            let message = format!(
                "the bundle `{}` is gone from `{}`",
                service.fileid.as_deref().unwrap_or_default(),
                path.display()
            );
            Err(run.failed(FailureCode::BundleMissing, message, "upload it again"))
        }
        path => Ok(path.map(shared_bundle).into_iter().collect()),
    }
}

/// The subnet of the run's network.
pub fn subnet_of(run: &Run) -> Result<Ipv4Net, StepError> {
    run.state
        .subnet
        .ok_or_else(|| run.failed(FailureCode::Internal, "no subnet is recorded", ""))
}
