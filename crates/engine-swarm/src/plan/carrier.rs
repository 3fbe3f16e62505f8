//! Services of carriers: they deliver bundles, fetch results, sample CPU usage, and kill containers on the nodes.

use super::{
    Endpoint, HOST_NETWORK, Labels, Mount, MountSource, Role, RunPlan, Scale, ServicePlan,
    escape_template,
};
use atq_node_protocol::order::{Order, variable};
use std::time::Duration;

/// A service of carriers to create ([`RunPlan::carrier`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarrierPlan<'a> {
    /// [`Role::Delivery`], [`Role::Collector`], [`Role::Watcher`] or [`Role::Killer`].
    pub role: Role,
    /// Number of the service among those of its role in the run, from 1.
    pub number: u32,
    /// Image of the carrier.
    pub image: &'a str,
    /// The order for the carriers.
    pub order: Order,
    /// Volumes and files that the carrier uses.
    pub mounts: Vec<Mount>,
    /// Number of containers.
    pub scale: Scale,
    /// Placement constraints.
    pub constraints: Vec<String>,
}

/// The token of the carriers of a run, in hexadecimal; derived from the run's own `token`.
pub fn carrier_token(token: &str) -> String {
    use sha2::{Digest, Sha256};
    format!("{:x}", Sha256::digest(format!("{token}:carrier")))
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
pub fn carrier(name: String, labels: Labels, plan: CarrierPlan<'_>, token: &str) -> ServicePlan {
    let environment = [
        (variable::ORDER, escape_template(&plan.order.to_json())),
        (variable::TOKEN, escape_template(token)),
        // Docker expands the id of each container's node.
        (variable::NODE, "{{.Node.ID}}".to_owned()),
    ];
    let (image, network) = (plan.image.to_owned(), HOST_NETWORK.to_owned());
    ServicePlan {
        args: vec![plan.order.work().as_str().to_owned()],
        environment: environment
            .map(|(name, value)| format!("{name}={value}"))
            .into(),
        mounts: plan.mounts,
        scale: plan.scale,
        endpoint: Endpoint::DnsRoundRobin,
        stop_grace: Duration::from_secs(1),
        constraints: plan.constraints,
        ..ServicePlan::new(plan.role, name, labels, image, network)
    }
}

impl RunPlan<'_> {
    /// A service of carriers; `token` is the run's own secret. The first service of a role is named after the role,
    /// later ones after its first characters and the number.
    pub fn carrier(&self, plan: CarrierPlan<'_>, token: &str) -> ServicePlan {
        let role = plan.role.as_str();
        let name = match plan.number {
            0 | 1 => self.name(role),
            number => self.name(&format!("{}-{number}", role.get(..7).unwrap_or(role))),
        };
        carrier(name, self.labels(plan.role), plan, &carrier_token(token))
    }
}
