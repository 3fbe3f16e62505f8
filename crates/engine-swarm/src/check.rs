//! Checks of a definition against the Swarm.

use crate::core::Core;
use crate::error::SwarmError;
use crate::plan::LABEL_PREFIX;
use crate::port::{ApiVersion, Network};
use atq_task::spec::{Fault, ServiceSpec, Sysctls, TaskSpec};
use std::future::Future;
use std::time::Duration;

/// Timeout of a request for a definition with `networks`, `ulimits` or `sysctls` (ARCHITECTURE.md, Walk-throughs).
const TIMEOUT: Duration = Duration::from_secs(2);

/// Finds networks that the services cannot join, and options that the Engine does not have.
pub(crate) async fn check(core: &Core, spec: &TaskSpec) -> Result<Vec<Fault>, SwarmError> {
    let mut faults = Vec::new();
    if services(spec).any(|(_, service)| !service.networks.is_empty()) {
        let networks = in_time("the list of networks", core.swarm.networks()).await?;
        faults.extend(
            services(spec).flat_map(|(role, one)| unusable(role, &one.networks, &networks)),
        );
    }
    if services(spec).any(|(_, service)| options(service).any(|option| option.is_used)) {
        let version = in_time("its version", core.swarm.api_version()).await?;
        faults.extend(services(spec).flat_map(|(role, one)| too_new(role, one, version)));
    }
    Ok(faults)
}

fn services(spec: &TaskSpec) -> impl Iterator<Item = (&'static str, &ServiceSpec)> {
    [("master", &spec.master), ("worker", &spec.worker)].into_iter()
}

async fn in_time<T>(
    what: &str,
    answer: impl Future<Output = Result<T, SwarmError>>,
) -> Result<T, SwarmError> {
    let answer = tokio::time::timeout(TIMEOUT, answer).await;
    answer.unwrap_or_else(|_| {
        Err(SwarmError::TimedOut {
            what: what.to_owned(),
            seconds: TIMEOUT.as_secs(),
        })
    })
}

/// An option of a service that an earlier Engine ignores.
struct NewOption {
    field: &'static str,
    /// The first version of Docker's API with it.
    since: ApiVersion,
    /// The first version of the Engine.
    engine: &'static str,
    is_used: bool,
}

fn options(service: &ServiceSpec) -> impl Iterator<Item = NewOption> + use<> {
    let ulimits = NewOption {
        field: "ulimits",
        since: ApiVersion {
            major: 1,
            minor: 41,
        },
        engine: "20.10",
        is_used: !service.ulimits.is_empty(),
    };
    let sysctls = NewOption {
        field: "sysctls",
        since: ApiVersion {
            major: 1,
            minor: 40,
        },
        engine: "19.03",
        is_used: service.sysctls != Sysctls::default(),
    };
    [ulimits, sysctls].into_iter()
}

/// The used options that an Engine with this version of the API ignores.
fn too_new(
    role: &'static str,
    service: &ServiceSpec,
    version: ApiVersion,
) -> impl Iterator<Item = Fault> + use<> {
    let ignored = options(service).filter(move |option| option.is_used && version < option.since);
    ignored.map(move |option| Fault {
        field: format!("{role}.{}", option.field),
        message: format!(
            "needs version {} of Docker's API (Engine {} or later); the manager has version {version}",
            option.since, option.engine
        ),
    })
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
    use serde_json::json;

    fn network(name: &str, overlay: bool, label: &str) -> Network {
        Network {
            id: format!("id-of-{name}"),
            name: name.to_owned(),
            overlay,
            subnets: Vec::new(),
            labels: [(label.to_owned(), "x".to_owned())].into(),
        }
    }

    fn faults_with(changes: &[(&str, serde_json::Value)], minor: usize) -> Vec<String> {
        let spec = atq_definition::examples::spec(changes);
        let version = ApiVersion { major: 1, minor };
        let faults = services(&spec).flat_map(|(role, one)| too_new(role, one, version));
        faults
            .map(|fault| format!("{} {}", fault.field, fault.message))
            .collect()
    }

    #[test]
    fn limits_and_settings_that_the_engine_would_ignore_are_faults() {
        let both = [
            ("/worker/ulimits", json!({"nofile": 1024})),
            ("/master/sysctls", json!({"net.ipv4.tcp_tw_reuse": 1})),
        ];
        let ulimits = |minor| {
            format!(
                "worker.ulimits needs version 1.41 of Docker's API (Engine 20.10 or later); the manager has version 1.{minor}"
            )
        };
        let sysctls = "master.sysctls needs version 1.40 of Docker's API (Engine 19.03 or later); the manager has version 1.39";
        assert_eq!(faults_with(&both, 41), [""; 0]);
        assert_eq!(faults_with(&both, 40), [ulimits(40)]);
        assert_eq!(faults_with(&both, 39), [sysctls.to_owned(), ulimits(39)]);
        assert_eq!(faults_with(&[], 39), [""; 0]);
        // Versions are compared as numbers.
        assert_eq!(faults_with(&both, 9).len(), 2);
        assert_eq!(faults_with(&both, 100), [""; 0]);
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
