//! Services of a run: created once, and found again when an earlier attempt has created them.

use crate::error::SwarmError;
use crate::plan::{LABEL_DIRECTOR, LABEL_RUN, Labels, ServicePlan};
use crate::port::Swarm;

/// A service that exists.
pub(crate) struct EnsuredService {
    pub id: String,
    /// Whether an earlier attempt has created it.
    pub existed: bool,
}

/// Creates the service, or finds it if an earlier attempt of the same run has created it. The labels `ours` identify
/// the run.
pub(crate) async fn create_or_find(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    ours: &Labels,
) -> Result<EnsuredService, SwarmError> {
    let made = |id, existed| EnsuredService { id, existed };
    let (what, reason) = match swarm.create_service(plan).await {
        Err(SwarmError::Conflict { what, reason }) => (what, reason),
        other => return other.map(|id| made(id, false)),
    };
    let mut services = swarm.services(&Labels::new()).await?.into_iter();
    match services.find(|service| service.name == plan.name) {
        Some(service) if is_ours(&service.labels, ours) => Ok(made(service.id, true)),
        Some(_) => Err(SwarmError::Conflict { what, reason }),
        // A name stays taken for a moment after its service was removed.
        None => Err(SwarmError::InUse { what, reason }),
    }
}

/// Whether an object carries the labels of this run and this Director.
pub(crate) fn is_ours(labels: &Labels, ours: &Labels) -> bool {
    of_run(labels) == of_run(ours)
}

/// The labels that identify the run and the Director. Others may change with a restart, for example when the port
/// changes.
pub(crate) fn of_run(labels: &Labels) -> Labels {
    let keys = [LABEL_RUN, LABEL_DIRECTOR];
    let mut kept = labels.clone();
    kept.retain(|key, _| keys.contains(&key.as_str()));
    kept
}
