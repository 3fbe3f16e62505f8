//! Checks of a definition against the Swarm.

use crate::core::Core;
use crate::error::SwarmError;
use crate::plan::LABEL_PREFIX;
use crate::port::Network;
use atq_task::spec::{Fault, TaskSpec};
use std::time::Duration;

/// Timeout of the request for a definition with `networks` (ARCHITECTURE.md, Walk-throughs).
const TIMEOUT: Duration = Duration::from_secs(2);

/// Finds networks that the services cannot join.
pub(crate) async fn check(core: &Core, spec: &TaskSpec) -> Result<Vec<Fault>, SwarmError> {
    if spec.master.networks.is_empty() && spec.worker.networks.is_empty() {
        return Ok(Vec::new());
    }
    let listed = tokio::time::timeout(TIMEOUT, core.swarm.networks()).await;
    let networks = listed.unwrap_or_else(|_| {
        Err(SwarmError::TimedOut {
            what: "the list of networks".into(),
            seconds: TIMEOUT.as_secs(),
        })
    })?;
    let services = [("master", &spec.master), ("worker", &spec.worker)].into_iter();
    let faults = services.flat_map(|(role, service)| unusable(role, &service.networks, &networks));
    Ok(faults.collect())
}

fn unusable(role: &str, wanted: &[String], networks: &[Network]) -> Vec<Fault> {
    let faults = wanted.iter().enumerate().filter_map(|(index, name)| {
        Some(Fault {
            field: format!("{role}.networks[{index}]"),
            message: fault(name, networks)?,
        })
    });
    faults.collect()
}

/// The reason why a task cannot join the network. Networks of a Director belong to its tasks: another task would
/// appear among their workers and would block their removal.
fn fault(name: &str, networks: &[Network]) -> Option<String> {
    let found = networks
        .iter()
        .find(|network| network.overlay && network.name == name);
    let Some(network) = found else {
        return Some(format!("`{name}` is not an overlay network of this swarm"));
    };
    let own = |key: &&String| key.starts_with(LABEL_PREFIX);
    let label = network.labels.keys().find(own)?;
    Some(format!(
        "`{name}` belongs to another task (label `{label}`) and cannot be joined; expected a network of the system under test"
    ))
}
