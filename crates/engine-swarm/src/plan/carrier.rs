//! Services of carriers: they deliver bundles, fetch and follow results, sample CPU usage, and kill containers on the nodes.

use super::{
    Endpoint, HOST_NETWORK, Labels, Mount, MountSource, Role, RunPlan, Scale, ServicePlan,
    escape_template,
};
use atq_node_protocol::order::{Order, variable};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// A service of carriers to create ([`RunPlan::carrier`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarrierPlan<'a> {
    /// [`Role::Delivery`], [`Role::Collector`], [`Role::Watcher`], [`Role::Killer`] or [`Role::Tail`].
    pub role: Role,
    /// Number of the service among those of its role in the run, from 1.
    pub number: u32,
    /// Image of the carrier.
    pub image: &'a str,
    /// The order for the carriers.
    pub order: Order,
    /// What the carriers may request from the Director.
    pub errand: Option<Errand<'a>>,
    /// Volumes and files that the carrier uses.
    pub mounts: Vec<Mount>,
    /// Number of containers.
    pub scale: Scale,
    /// Placement constraints.
    pub constraints: Vec<String>,
}

/// What a carrier may request from the Director. Each errand has a token of its own, so that a leaked one is of use for
/// nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand<'a> {
    /// Fetch this bundle.
    Fetch {
        /// Id of the bundle.
        bundle: &'a str,
    },
    /// Send the results of the containers on this node.
    Collect {
        /// Id of the node.
        node: &'a str,
    },
    /// Report CPU usage.
    Watch,
    /// Send what the containers on this node append to their result files.
    Tail {
        /// Id of the node.
        node: &'a str,
    },
}

/// The token for an errand of a run, in hexadecimal. Only who has the run's own `secret` can derive it: one token does
/// not lead to another.
pub fn carrier_token(secret: &str, run: &str, errand: Errand<'_>) -> String {
    let (kind, subject) = match errand {
        Errand::Fetch { bundle } => ("fetch", bundle),
        Errand::Collect { node } => ("collect", node),
        Errand::Watch => ("watch", ""),
        Errand::Tail { node } => ("tail", node),
    };
    // A key of any length is valid.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    for part in ["atq-carrier", run, kind, subject] {
        // With its length, so that no two lists of parts have the same bytes.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    format!("{:x}", mac.finalize().into_bytes())
}

/// Mounts the Docker socket of a node at the path that a carrier expects.
pub fn socket_mount(node_docker_socket: &std::path::Path) -> Mount {
    Mount {
        source: MountSource::Path(node_docker_socket.to_owned()),
        target: "/var/run/docker.sock".to_owned(),
        read_only: false,
    }
}

/// A service of carriers with this name. It uses the network of the node itself, so that it can reach everything that
/// its node can reach.
pub fn carrier(
    name: String,
    labels: Labels,
    plan: CarrierPlan<'_>,
    token: Option<&str>,
) -> ServicePlan {
    let mut environment = vec![
        (variable::ORDER, escape_template(&plan.order.to_json())),
        // Docker expands the id of each container's node.
        (variable::NODE, "{{.Node.ID}}".to_owned()),
    ];
    environment.extend(token.map(|token| (variable::TOKEN, token.to_owned())));
    let (image, network) = (plan.image.to_owned(), HOST_NETWORK.to_owned());
    ServicePlan {
        args: vec![plan.order.work().as_str().to_owned()],
        environment: environment
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        mounts: plan.mounts,
        scale: plan.scale,
        endpoint: Endpoint::DnsRoundRobin,
        stop_grace: Duration::from_secs(1),
        constraints: plan.constraints,
        ..ServicePlan::new(plan.role, name, labels, image, network)
    }
}

impl CarrierPlan<'_> {
    /// Identifies what the carriers do and where: equal plans have equal digests, also after a restart.
    pub fn digest(&self) -> String {
        let described = format!(
            "{} {:?} {:?} {}",
            self.image,
            self.constraints,
            self.mounts,
            self.order.to_json()
        );
        let hash = format!("{:x}", Sha256::digest(described));
        format!("{hash:.32}")
    }
}

impl RunPlan<'_> {
    /// A service of carriers; `secret` is that of the run. The first service of a role is named after the role,
    /// later ones after its first characters and the number.
    pub fn carrier(&self, plan: CarrierPlan<'_>, secret: &str) -> ServicePlan {
        let role = plan.role.as_str();
        let name = match plan.number {
            0 | 1 => self.name(role),
            number => self.name(&format!("{}-{number}", role.get(..7).unwrap_or(role))),
        };
        let token = plan
            .errand
            .map(|errand| carrier_token(secret, self.run, errand));
        carrier(name, self.labels(plan.role), plan, token.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_errand_of_each_run_has_a_token_of_its_own() {
        let errands = [
            Errand::Fetch { bundle: "b1" },
            Errand::Fetch { bundle: "b2" },
            Errand::Collect { node: "n1" },
            Errand::Collect { node: "n2" },
            Errand::Collect { node: "b1" },
            Errand::Watch,
            Errand::Tail { node: "n1" },
            Errand::Tail { node: "n2" },
        ];
        let mut tokens = std::collections::BTreeSet::new();
        for (secret, run) in [("s1", "r1"), ("s1", "r2"), ("s2", "r1")] {
            for errand in errands {
                let token = carrier_token(secret, run, errand);
                assert_eq!(token.len(), 64);
                assert_eq!(token, carrier_token(secret, run, errand));
                tokens.insert(token);
            }
        }
        assert_eq!(tokens.len(), 3 * errands.len());
    }

    #[test]
    fn tokens_survive_an_update_of_the_director() {
        // Carriers of the earlier version still run.
        assert_eq!(
            carrier_token("secret", "a1b2c3", Errand::Watch),
            "71c7d30956db56b088c937e87a6797bdf50e8c7be94473d543d87ee676a91074"
        );
    }
}
