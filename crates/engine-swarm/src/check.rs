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

/// Whether a label belongs to a Director: `com.atq` and `com.atq.*`, in any case.
fn is_of_director(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    lower.starts_with(LABEL_PREFIX) || lower == LABEL_PREFIX.trim_end_matches('.')
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
    let label = network.labels.keys().find(|key| is_of_director(key))?;
    Some(format!(
        "`{name}` belongs to another task (label `{label}`) and cannot be joined; expected a network of the system under test"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn network(name: &str, overlay: bool, label: &str) -> Network {
        Network {
            id: format!("id-of-{name}"),
            name: name.to_owned(),
            overlay,
            subnets: Vec::new(),
            labels: [(label.to_owned(), "x".to_owned())].into(),
        }
    }

    #[test]
    fn only_overlay_networks_without_labels_of_a_director_can_be_joined() {
        let networks = [
            network("target", true, "org.example"),
            network("similar", true, "com.atqx"),
            network("load-a1b2c3", true, "com.atq.task"),
            network("upper", true, "COM.ATQ.Run"),
            network("bare", true, "com.atq"),
            network("host", false, "org.example"),
        ];
        let wanted = [
            "target",
            "similar",
            "load-a1b2c3",
            "upper",
            "bare",
            "host",
            // Docker would accept the id of a network, too.
            "id-of-load-a1b2c3",
        ];
        let faults = unusable("worker", &wanted.map(str::to_owned), &networks);
        let faults: Vec<(&str, &str)> = faults
            .iter()
            .map(|fault| (fault.field.as_str(), fault.message.as_str()))
            .collect();
        let expected = "and cannot be joined; expected a network of the system under test";
        let of_director = |name: &str, label: &str| {
            format!("`{name}` belongs to another task (label `{label}`) {expected}")
        };
        assert_eq!(
            faults,
            [
                (
                    "worker.networks[2]",
                    of_director("load-a1b2c3", "com.atq.task").as_str()
                ),
                ("worker.networks[3]", &of_director("upper", "COM.ATQ.Run")),
                ("worker.networks[4]", &of_director("bare", "com.atq")),
                (
                    "worker.networks[5]",
                    "`host` is not an overlay network of this swarm"
                ),
                (
                    "worker.networks[6]",
                    "`id-of-load-a1b2c3` is not an overlay network of this swarm"
                ),
            ]
        );
    }
}
