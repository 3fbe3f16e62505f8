//! Names, labels and descriptions of everything that a run creates in Docker. Pure: the same run always has the same
//! plan, which makes every step idempotent.

mod carrier;
mod subnet;
pub mod volumes;

#[cfg(test)]
mod tests;

pub use atq_engine::Role;
pub use carrier::{CarrierPlan, Errand, carrier, carrier_token, socket_mount};
pub use subnet::{free_subnet, prefix_for};

use atq_task::spec::{
    READINESS_COMMAND, REMOTES, RESERVED_PREFIX, Resources, STOP_GRACE, ServiceSpec, TaskSpec,
    WORKER_ADDRESSES, WORKERS_NAME,
};
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// Prefix of the labels of a Director.
pub const LABEL_PREFIX: &str = "com.atq.";
/// Label with the task's name.
pub const LABEL_TASK: &str = "com.atq.task";
/// Label with the run's suffix.
pub const LABEL_RUN: &str = "com.atq.run";
/// Label with the [`Role`].
pub const LABEL_ROLE: &str = "com.atq.role";
/// Label with the id of the Director that created the object.
pub const LABEL_DIRECTOR: &str = "com.atq.director";

/// Label with the place of that Director: its host, data directory and port, which no two running Directors share. It
/// distinguishes two Directors with the same id.
pub const LABEL_PLACE: &str = "com.atq.place";

/// Task name in the labels of carriers that belong to no task. The Director removes such carriers as orphans at
/// start.
pub(crate) const NO_TASK: &str = "removal";

/// Label of a service of carriers with the digest of its order. A restarted Director finds the service again if it would create
/// the same one.
pub(crate) const LABEL_ORDER: &str = "com.atq.order";

/// Mount point of a bundle in a container (thesis, Appendix A).
pub const BUNDLE_TARGET: &str = "/atq/data";
/// Directory for results in workers and masters.
pub const RESULTS_TARGET: &str = "/atq/results";
/// Port of the sidecar in its container.
pub const DISCOVERY_PORT: u16 = 9090;
/// Environment variable with the token of the sidecar.
pub const DISCOVERY_TOKEN_VARIABLE: &str = "ATQ_DISCOVERY_TOKEN";

/// Environment variable with the time limit of [`PROBE_EACH_WORKER`] in seconds.
const READINESS_SECONDS: &str = "ATQ_READINESS_SECONDS";
/// Runs the readiness command for all workers concurrently and prints a line for each. Needs a shell, `date` and
/// `sleep` in the image.
const PROBE_EACH_WORKER: &str = include_str!("probe_each_worker.sh");

/// The number of an attempt of the wait command, from the name of its service ([`RunPlan::wait_name`]).
pub fn attempt_of(service_name: &str) -> Option<u32> {
    let (_, attempt) = service_name.rsplit_once('-')?;
    attempt.parse().ok()
}

/// Labels of a Docker object.
pub type Labels = BTreeMap<String, String>;

/// Labels with these keys and values.
pub(crate) fn labels_of<const N: usize>(labels: [(&str, &str); N]) -> Labels {
    labels
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// An overlay network to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// Unique per run: a name stays taken for seconds after its removal (ARCHITECTURE.md, How Docker Swarm behaves).
    pub name: String,
    /// Always explicit, so that two tasks never overlap.
    pub subnet: Ipv4Net,
    /// Labels of the network.
    pub labels: Labels,
}

/// How a service's name resolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// DNS round-robin: one address for each container.
    DnsRoundRobin,
    /// One virtual address.
    VirtualIp,
}

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The source.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the mount is read-only.
    pub read_only: bool,
}

/// The source of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of the node: its absolute path.
    Path(PathBuf),
    /// A volume on the node, created if missing. Swarm expands templates in its name.
    Volume {
        /// Its name.
        name: String,
        /// Labels of the volume if it is created.
        labels: Labels,
    },
    /// A volume for each container, created with it.
    VolumePerTask {
        /// Its name is this prefix and the id of the Swarm task.
        prefix: String,
        /// Its labels.
        labels: Labels,
    },
}

/// The number of containers of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// A fixed number.
    Replicas(u32),
    /// One on every node that may run it.
    EveryNode,
}

/// Docker's name for the network of the node itself.
pub const HOST_NETWORK: &str = "host";

/// A network that a service joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkJoin {
    /// Name or id of the network.
    pub network: String,
    /// Names of the service on that network, besides its own.
    pub aliases: Vec<String>,
}

/// A service to create. Its containers are never restarted.
#[derive(Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// At most 63 characters.
    pub name: String,
    /// The role of the service.
    pub role: Role,
    /// Labels of the service and of its containers (Docker does not copy them from one to the other).
    pub labels: Labels,
    /// Image reference.
    pub image: String,
    /// Replaces the image's entrypoint when given.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments of the container.
    pub args: Vec<String>,
    /// `NAME=value`; may hold passwords.
    pub environment: Vec<String>,
    /// Mounts of the containers.
    pub mounts: Vec<Mount>,
    /// Networks to join.
    pub networks: Vec<NetworkJoin>,
    /// Number of containers.
    pub scale: Scale,
    /// The service of the definition; its Docker options (`user`) are passed on unchanged. `None` for the Director's
    /// own services.
    pub defined: Option<Box<ServiceSpec>>,
    /// Whether the containers get a terminal.
    pub tty: bool,
    /// How the service's name resolves.
    pub endpoint: Endpoint,
    /// A TCP port that is published on the node, under a port chosen by the node.
    pub host_port: Option<u16>,
    /// Time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// Placement constraints in Docker's syntax, for example `node.id==abc`.
    pub constraints: Vec<String>,
    /// Maximum number of containers on one node.
    pub max_replicas_per_node: Option<u32>,
    /// Resource limits and reservations of a container.
    pub resources: Resources,
    /// Maximum number of processes and threads of a container; `None`: unlimited.
    pub pids: Option<u64>,
}

impl ServicePlan {
    /// A service with one container and no options.
    fn new(role: Role, name: String, labels: Labels, image: String, network: String) -> Self {
        Self {
            name,
            role,
            labels,
            image,
            entrypoint: None,
            args: Vec::new(),
            environment: Vec::new(),
            mounts: Vec::new(),
            networks: vec![NetworkJoin {
                network,
                aliases: Vec::new(),
            }],
            scale: Scale::Replicas(1),
            defined: None,
            tty: false,
            endpoint: Endpoint::VirtualIp,
            host_port: None,
            stop_grace: STOP_GRACE,
            constraints: Vec::new(),
            max_replicas_per_node: None,
            resources: Resources::default(),
            pids: None,
        }
    }
}

impl fmt::Debug for ServicePlan {
    /// Omits the environment, which may contain passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServicePlan")
            .field("name", &self.name)
            .field("image", &self.image)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// Identifies one run of a task and derives its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlan<'a> {
    /// The definition.
    pub spec: &'a TaskSpec,
    /// Six random characters.
    pub run: &'a str,
    /// Id of the Director.
    pub director: &'a str,
    /// Place of that Director ([`LABEL_PLACE`]).
    pub place: &'a str,
    /// Number of subnets chosen so far. The second network needs another name, because the name of the first stays
    /// taken for seconds after its removal.
    pub networks_tried: u32,
}

/// The mount of a bundle that is in the same directory on every node.
pub fn shared_bundle(directory: PathBuf) -> Mount {
    Mount {
        source: MountSource::Path(directory),
        target: BUNDLE_TARGET.to_owned(),
        read_only: true,
    }
}

impl RunPlan<'_> {
    /// `<task>-<run>-<suffix>`; at most 45 + 1 + 6 + 1 + 10 = 63 characters.
    fn name(&self, suffix: &str) -> String {
        format!("{}-{}-{suffix}", self.spec.name, self.run)
    }

    /// Name of the service with this role. The wait command has one service per attempt: [`RunPlan::wait_name`].
    pub fn service_name(&self, role: Role) -> String {
        self.name(role.as_str())
    }

    /// Name of the service for an attempt of the wait command, from 1.
    pub fn wait_name(&self, attempt: u32) -> String {
        self.name(&format!("wait-{attempt}"))
    }

    /// Name of the run's network.
    pub fn network_name(&self) -> String {
        match self.networks_tried {
            0 | 1 => self.name("net"),
            tried => self.name(&format!("net-{tried}")),
        }
    }

    /// Labels of an object with this role.
    pub fn labels(&self, role: Role) -> Labels {
        labels_of([
            (LABEL_TASK, self.spec.name.as_str()),
            (LABEL_RUN, self.run),
            (LABEL_ROLE, role.as_str()),
            (LABEL_DIRECTOR, self.director),
            (LABEL_PLACE, self.place),
        ])
    }

    /// The run's own network.
    pub fn network(&self, subnet: Ipv4Net) -> NetworkPlan {
        NetworkPlan {
            name: self.network_name(),
            subnet,
            labels: self.labels(Role::Network),
        }
    }

    /// The sidecar, on the node `node` if given, else on any node.
    pub fn discovery(&self, image: &str, token: &str, node: Option<&str>) -> ServicePlan {
        let name = self.service_name(Role::Discovery);
        let constraint = node.map(|id| format!("node.id=={id}"));
        ServicePlan {
            environment: vec![format!("{DISCOVERY_TOKEN_VARIABLE}={token}")],
            endpoint: Endpoint::DnsRoundRobin,
            host_port: Some(DISCOVERY_PORT),
            stop_grace: Duration::from_secs(1),
            constraints: constraint.into_iter().collect(),
            ..self.service(Role::Discovery, name, image.to_owned(), 1)
        }
    }

    /// The workers.
    pub fn workers(&self, subnet: Ipv4Net, bundle: Vec<Mount>) -> ServicePlan {
        let name = self.service_name(Role::Worker);
        let mut plan = self.tool(Role::Worker, name, &self.spec.worker, subnet, bundle);
        plan.endpoint = Endpoint::DnsRoundRobin;
        if let Some(own) = plan.networks.first_mut() {
            own.aliases.push(WORKERS_NAME.to_owned());
        }
        plan
    }

    /// The master, with the addresses of the workers in its environment.
    pub fn master(&self, subnet: Ipv4Net, bundle: Vec<Mount>, workers: &[Ipv4Addr]) -> ServicePlan {
        let spec = &self.spec.master;
        let name = self.service_name(Role::Master);
        let mut plan = self.tool(Role::Master, name, spec, subnet, bundle);
        let addresses = csv(workers);
        if !spec.sets(REMOTES) {
            plan.environment.push(format!("{REMOTES}={addresses}"));
        }
        plan.environment
            .push(format!("{WORKER_ADDRESSES}={addresses}"));
        plan
    }

    /// An attempt of the wait command.
    pub fn wait(
        &self,
        command: &str,
        attempt: u32,
        subnet: Ipv4Net,
        bundle: Vec<Mount>,
        workers: &[Ipv4Addr],
    ) -> ServicePlan {
        let mut plan = self.command(Role::Wait, self.wait_name(attempt), subnet, bundle);
        plan.args = vec![command.to_owned()];
        plan.environment
            .push(format!("{WORKER_ADDRESSES}={}", csv(workers)));
        plan
    }

    /// The readiness command: like the wait command, but run repeatedly for every worker, in one container.
    pub fn readiness(
        &self,
        command: &str,
        seconds: u64,
        subnet: Ipv4Net,
        bundle: Vec<Mount>,
        workers: &[Ipv4Addr],
    ) -> ServicePlan {
        let name = self.service_name(Role::Readiness);
        let mut plan = self.command(Role::Readiness, name, subnet, bundle);
        plan.args = vec![PROBE_EACH_WORKER.to_owned()];
        let own = [
            (READINESS_COMMAND, escape_template(command)),
            (READINESS_SECONDS, seconds.to_string()),
            (WORKER_ADDRESSES, csv(workers)),
        ];
        plan.environment
            .extend(own.map(|(name, value)| format!("{name}={value}")));
        plan
    }

    /// A container with the worker's image and environment that runs a shell. It joins only the task's network and
    /// has no terminal, so that its standard output is separate.
    fn command(
        &self,
        role: Role,
        name: String,
        subnet: Ipv4Net,
        bundle: Vec<Mount>,
    ) -> ServicePlan {
        let mut plan = self.tool(role, name, &self.spec.worker, subnet, bundle);
        plan.entrypoint = Some(vec!["/bin/sh".into(), "-c".into()]);
        plan.networks.truncate(1);
        if let Some(own) = plan.networks.first_mut() {
            own.aliases.clear();
        }
        plan.scale = Scale::Replicas(1);
        plan.tty = false;
        // It generates no load.
        plan.max_replicas_per_node = None;
        plan.resources = Resources::default();
        plan
    }

    /// A service of the user's tool.
    fn tool(
        &self,
        role: Role,
        name: String,
        spec: &ServiceSpec,
        subnet: Ipv4Net,
        bundle: Vec<Mount>,
    ) -> ServicePlan {
        let mut plan = self.service(role, name, spec.image.clone(), spec.replicas);
        plan.args = spec.args.clone();
        plan.tty = spec.tty;
        plan.defined = Some(Box::new(spec.clone()));
        plan.stop_grace = spec.stop_grace();
        plan.resources = spec.resources;
        plan.constraints = spec.placement.constraints.clone();
        plan.max_replicas_per_node = spec.placement.max_replicas_per_node;
        // The Director's labels take precedence.
        let users = spec.labels.iter().map(|(k, v)| (k.clone(), v.clone()));
        plan.labels = users.chain(std::mem::take(&mut plan.labels)).collect();
        plan.environment = self.environment(role, spec, subnet);
        plan.mounts = bundle;
        let results = role.keeps_results().then(|| self.results_mount(role));
        plan.mounts.extend(results);
        if let Some(own) = plan.networks.first_mut() {
            own.aliases.push(spec.alias.clone());
        }
        plan.networks
            .extend(spec.networks.iter().map(|name| NetworkJoin {
                network: name.clone(),
                aliases: Vec::new(),
            }));
        plan
    }

    /// A volume instead of a directory of the container: it can also be read after the container's end, and writes bypass
    /// the container's layers.
    fn results_mount(&self, role: Role) -> Mount {
        Mount {
            source: MountSource::VolumePerTask {
                prefix: self.results_volume(""),
                labels: self.labels(role),
            },
            target: RESULTS_TARGET.to_owned(),
            read_only: false,
        }
    }

    /// The name of the volume with the results of a Swarm task. Ids of Swarm tasks are unique.
    pub fn results_volume(&self, task: &str) -> String {
        format!("atq-results-{}-{task}", self.run)
    }

    fn environment(&self, role: Role, spec: &ServiceSpec, subnet: Ipv4Net) -> Vec<String> {
        let own = [
            ("TASK", self.spec.name.as_str().to_owned()),
            ("ROLE", role.as_str().to_owned()),
            // Docker expands the slot of each container.
            ("REPLICA", "{{.Task.Slot}}".to_owned()),
            ("SUBNET", subnet.to_string()),
        ];
        let results = role
            .keeps_results()
            .then(|| ("RESULTS", RESULTS_TARGET.to_owned()));
        let users = spec
            .environment
            .iter()
            .map(|var| escape_template(&format!("{}={}", var.name, var.value)));
        own.into_iter()
            .chain(results)
            .map(|(name, value)| format!("{RESERVED_PREFIX}{name}={value}"))
            .chain(users)
            .collect()
    }

    /// Common properties of all services of a run.
    fn service(&self, role: Role, name: String, image: String, replicas: u32) -> ServicePlan {
        let mut plan = ServicePlan::new(role, name, self.labels(role), image, self.network_name());
        plan.scale = Scale::Replicas(replicas);
        plan
    }
}

/// Escapes a value of the user: Swarm expands Go templates in the environment of a service, in names and values.
/// Opening braces are replaced by a template that prints them.
fn escape_template(value: &str) -> String {
    value.replace("{{", r#"{{"{{"}}"#)
}

/// `ip1,ip2`, in ascending order.
fn csv(addresses: &[Ipv4Addr]) -> String {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    let sorted: Vec<String> = sorted.iter().map(ToString::to_string).collect();
    sorted.join(",")
}
