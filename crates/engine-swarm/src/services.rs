//! Services of a run: created once, and found again by what an earlier try has created.

use crate::error::SwarmError;
use crate::plan::{LABEL_DIRECTOR, LABEL_RUN, Labels, ServicePlan};
use crate::port::Swarm;

/// A service that is there now.
pub(crate) struct Made {
    pub id: String,
    /// An earlier try has created it.
    pub earlier: bool,
}

/// Creates the service, or finds it when an earlier try of the run that `ours` tells has created it.
pub(crate) async fn create_or_find(
    swarm: &dyn Swarm,
    plan: &ServicePlan,
    ours: &Labels,
) -> Result<Made, SwarmError> {
    let made = |id, earlier| Made { id, earlier };
    let (what, reason) = match swarm.create_service(plan).await {
        Err(SwarmError::Conflict { what, reason }) => (what, reason),
        other => return other.map(|id| made(id, false)),
    };
    let services = swarm.services(&Labels::new()).await?;
    match services
        .into_iter()
        .find(|service| service.name == plan.name)
    {
        Some(service) if is_ours(&service.labels, ours) => Ok(made(service.id, true)),
        Some(_) => Err(SwarmError::Conflict { what, reason }),
        // A name is free again only a moment after its service was removed.
        None => Err(SwarmError::InUse { what, reason }),
    }
}

/// Whether an object carries the labels of this run and this Director.
pub(crate) fn is_ours(labels: &Labels, ours: &Labels) -> bool {
    of_run(labels) == of_run(ours)
}

/// Those of `labels` that tell the run and the Director. The others may be different after a restart,
/// for example on another port.
pub(crate) fn of_run(labels: &Labels) -> Labels {
    let keys = [LABEL_RUN, LABEL_DIRECTOR];
    let kept = labels
        .iter()
        .filter(|(key, _)| keys.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
