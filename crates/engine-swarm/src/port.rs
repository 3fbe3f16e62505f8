//! The port to Docker, in terms of this crate.
//!
//! Every call is idempotent for the caller: objects that are already gone or already exist are reported as
//! [`SwarmError::NotFound`] and [`SwarmError::Conflict`].

use crate::error::SwarmError;
use crate::plan::{Labels, NetworkPlan, ServicePlan};
use async_trait::async_trait;
/// The manager that the Director uses.
pub use atq_engine::Status as Manager;
use atq_engine::{ImageDigests, JoinTokens, LogLine, LogQuery, Machine, ResourceUsage, Role};
use atq_node_protocol::load;
use atq_task::timestamp::Timestamp;
use futures_util::stream::BoxStream;
use ipnet::Ipv4Net;
use std::fmt;
use std::net::Ipv4Addr;
use tokio_util::bytes::Bytes;

/// A version of Docker's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// Major version.
    pub major: usize,
    /// Minor version.
    pub minor: usize,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A node of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Node id.
    pub id: String,
    /// Hardware and platform.
    pub machine: Machine,
    /// Host name.
    pub hostname: String,
    /// Address in the Swarm.
    pub address: String,
    /// Whether the node is connected to the managers.
    pub ready: bool,
    /// Whether the node accepts new containers (availability `active`, neither paused nor drained).
    pub active: bool,
    /// Other properties for placement constraints.
    pub traits: NodeTraits,
}

impl From<Node> for atq_engine::Node {
    fn from(node: Node) -> Self {
        Self {
            id: node.id,
            hostname: node.hostname,
            address: node.address,
            machine: node.machine,
            ready: node.ready,
            active: node.active,
        }
    }
}

/// Properties of a node for placement constraints, besides its id, its host name and its [`Machine`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeTraits {
    /// Whether it is a manager of the Swarm.
    pub manager: bool,
    /// Node labels, set on a manager.
    pub labels: Labels,
    /// Labels of the node's Engine.
    pub engine_labels: Labels,
}

/// A network of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Network id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Whether it is an overlay network of the Swarm that services can join.
    pub overlay: bool,
    /// Its IPv4 subnets.
    pub subnets: Vec<Ipv4Net>,
    /// Its labels.
    pub labels: Labels,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Service id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
}

/// A container on the manager's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Container id.
    pub id: String,
    /// Its labels.
    pub labels: Labels,
}

/// Kinds of objects that a run creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A service.
    Service,
    /// A container on the manager's node.
    Container,
    /// A network.
    Network,
    /// A volume on the manager's node.
    Volume,
}

impl Kind {
    /// Docker's name of the kind, also in its commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Container => "container",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }
}

/// An object of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The kind of object.
    pub kind: Kind,
    /// Its name; for a container, the beginning of its id.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
}

impl From<Service> for Object {
    fn from(service: Service) -> Self {
        Self {
            kind: Kind::Service,
            name: service.name,
            labels: service.labels,
        }
    }
}

impl From<Container> for Object {
    fn from(container: Container) -> Self {
        Self {
            kind: Kind::Container,
            name: container.id.chars().take(12).collect(),
            labels: container.labels,
        }
    }
}

impl From<Network> for Object {
    fn from(network: Network) -> Self {
        Self {
            kind: Kind::Network,
            name: network.name,
            labels: network.labels,
        }
    }
}

/// States of a Swarm task, in Swarm's order; a state never decreases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Waits for addresses.
    New,
    /// Waits for a node.
    Pending,
    /// Has a node.
    Assigned,
    /// The node has accepted it.
    Accepted,
    /// The node prepares image, networks and mounts.
    Preparing,
    /// Can be started.
    Ready,
    /// Is being started.
    Starting,
    /// Its process runs.
    Running,
    /// Ended with exit code 0.
    Complete,
    /// Ended on request.
    Shutdown,
    /// Ended with another exit code, or could not be started.
    Failed,
    /// The node refused it before it was started.
    Rejected,
    /// Is being removed.
    Remove,
    /// Its node has been down for a day.
    Orphaned,
}

impl TaskState {
    /// Whether it will never run (again).
    pub fn is_terminal(self) -> bool {
        self >= Self::Complete
    }

    /// Docker's name of the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Remove => "remove",
            Self::Orphaned => "orphaned",
        }
    }
}

/// A Swarm task: one container of a service, in Swarm's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmTask {
    /// Swarm task id.
    pub id: String,
    /// The service of the task.
    pub service_id: String,
    /// Its labels that begin with [`crate::plan::LABEL_PREFIX`].
    pub labels: Labels,
    /// Number of the replica, from 1; 0 for services without one.
    pub slot: u32,
    /// The assigned node.
    pub node_id: Option<String>,
    /// The observed state.
    pub state: TaskState,
    /// The desired state: [`TaskState::Running`] while the task is meant to run.
    pub desired: TaskState,
    /// Time of the last state change, by the clock of its node (of the manager before it has one).
    pub since: Option<Timestamp>,
    /// Docker's own text for an error.
    pub error: Option<String>,
    /// Exit code; only once the state is terminal and the container was started.
    pub exit_code: Option<i64>,
    /// Its container on its node.
    pub container_id: Option<String>,
    /// Addresses by network id.
    pub addresses: Vec<(String, Ipv4Addr)>,
    /// Published TCP ports: (port in the container, port on the node), without duplicates. One port in the container
    /// may have two on the node, one for IPv4 and one for IPv6; Docker does not distinguish them.
    pub ports: Vec<(u16, u16)>,
}

impl SwarmTask {
    /// Running and meant to run. A task on a lost node stays `running` indefinitely; only its desired state changes
    /// (ARCHITECTURE.md, How Docker Swarm behaves).
    pub fn is_alive(&self) -> bool {
        self.state == TaskState::Running && self.desired == TaskState::Running
    }

    /// Its address in the network `network_id`.
    pub fn address_in(&self, network_id: &str) -> Option<Ipv4Addr> {
        self.addresses
            .iter()
            .find(|(id, _)| id == network_id)
            .map(|(_, address)| *address)
    }
}

/// CPU time of a container at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuUsage {
    /// CPU time that the container has used since its start, in nanoseconds, over all CPUs.
    pub used: u64,
    /// Elapsed CPU time of all CPUs of its node since the node's start, in nanoseconds, including idle time.
    pub elapsed: u64,
    /// Number of CPUs of its node.
    pub processors: u32,
}

/// Resource usage of a container at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerUsage {
    /// CPU time.
    pub cpu: CpuUsage,
    /// Memory, network and block I/O.
    pub usage: ResourceUsage,
}

/// The operations of Docker Swarm that the Director uses.
#[async_trait]
pub trait Swarm: Send + Sync + 'static {
    /// Checks that Docker answers and is a manager of a Swarm.
    async fn manager(&self) -> Result<Manager, SwarmError>;

    /// The version of Docker's API that is used.
    async fn api_version(&self) -> Result<ApiVersion, SwarmError>;

    /// The join tokens of the Swarm.
    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError>;

    /// All nodes.
    async fn nodes(&self) -> Result<Vec<Node>, SwarmError>;

    /// All networks, including foreign ones.
    async fn networks(&self) -> Result<Vec<Network>, SwarmError>;

    /// Creates an attachable overlay network and returns its id.
    async fn create_network(&self, plan: &NetworkPlan) -> Result<String, SwarmError>;

    /// Removes a network. [`SwarmError::InUse`] while something is attached to it.
    async fn remove_network(&self, id: &str) -> Result<(), SwarmError>;

    /// The services that carry all of `labels`.
    async fn services(&self, labels: &Labels) -> Result<Vec<Service>, SwarmError>;

    /// Creates a service and returns its id.
    async fn create_service(&self, plan: &ServicePlan) -> Result<String, SwarmError>;

    /// Stops the containers of a service: SIGTERM, and SIGKILL after the grace period of its plan. The service and
    /// its Swarm tasks stay, so that logs and exit codes can still be read. A second call changes nothing.
    async fn end_service(&self, id: &str) -> Result<(), SwarmError>;

    /// Removes a service by id or name. Its containers end later.
    async fn remove_service(&self, id: &str) -> Result<(), SwarmError>;

    /// The Swarm tasks of all services that carry, or carried, all of `labels`.
    async fn tasks(&self, labels: &Labels) -> Result<Vec<SwarmTask>, SwarmError>;

    /// The containers on the manager's node, also those that have ended, that carry all of `labels`.
    async fn containers(&self, labels: &Labels) -> Result<Vec<Container>, SwarmError>;

    /// Kills the processes of a container on the manager's node with SIGKILL. A container that does not run is left
    /// unchanged.
    async fn kill_container(&self, id: &str) -> Result<(), SwarmError>;

    /// The names of the volumes on the manager's node that carry all of `labels`.
    async fn volumes(&self, labels: &Labels) -> Result<Vec<String>, SwarmError>;

    /// All objects that have the label `key`, whatever its value: services and networks, and containers
    /// and volumes on the manager's node.
    async fn labelled(&self, key: &str) -> Result<Vec<Object>, SwarmError>;

    /// Removes a volume on the manager's node.
    async fn remove_volume(&self, name: &str) -> Result<(), SwarmError>;

    /// The log of one Swarm task up to now, oldest line first; with `follow`, new lines follow without end. Works for
    /// every node, until the service is removed. `tty` as in the service's plan. Dropping the stream stops the
    /// request to Docker.
    async fn task_logs(
        &self,
        task_id: &str,
        tty: bool,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, SwarmError>>, SwarmError>;

    /// The file or directory `path` of a container on the manager's node as a tar, even after the container has ended,
    /// and even if `path` is in a volume. [`SwarmError::NotFound`] when there is no such container on that
    /// node, or no such path in it.
    async fn archive(
        &self,
        container_id: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, SwarmError>>, SwarmError>;

    /// The resource usage of a container on the manager's node; once it has ended, its CPU time is zero and the rest absent.
    async fn stats(&self, container_id: &str) -> Result<ContainerUsage, SwarmError>;

    /// Pulls an image to the manager's node unless it exists there.
    async fn pull_image(&self, image: &str) -> Result<(), SwarmError>;

    /// The digests of an image on the manager's node; `None` when it is not there.
    async fn image_digests(&self, image: &str) -> Result<Option<ImageDigests>, SwarmError>;

    /// The likely reason why a node could not pull an image: Docker's own text about the registry, and the source of
    /// the credentials that were sent, never a password. `None` when Docker itself does not answer. Takes 5 s at
    /// most, and 5 s more when a credential helper hangs.
    async fn image_problem(&self, image: &str) -> Option<String>;
}

/// Larger numbers of bytes are not plausible, and not exact in JSON.
const MAX_BYTES: u64 = 1 << 53;

/// The resource usage from statistics or from a report; numbers that are not plausible are absent.
pub(crate) fn resource_usage(reported: load::ResourceUsage) -> ResourceUsage {
    let plausible = |bytes: Option<u64>| bytes.filter(|bytes| *bytes < MAX_BYTES);
    ResourceUsage {
        memory: plausible(reported.memory),
        memory_limit: plausible(reported.memory_limit).filter(|limit| *limit > 0),
        received: plausible(reported.received),
        sent: plausible(reported.sent),
        read: plausible(reported.read),
        written: plausible(reported.written),
    }
}

/// The role in the labels of an object.
pub fn role_of(labels: &Labels) -> Option<Role> {
    Role::parse(labels.get(crate::plan::LABEL_ROLE)?)
}

/// The labels that were set by a Director.
pub(crate) fn of_a_director(labels: impl IntoIterator<Item = (String, String)>) -> Labels {
    let labels = labels.into_iter();
    labels
        .filter(|(key, _)| key.starts_with(crate::plan::LABEL_PREFIX))
        .collect()
}

/// The reference with Docker's default tag. Without tag and digest, a pull would fetch all tags.
pub(crate) fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.contains([':', '@']) {
        true => image.to_owned(),
        false => format!("{image}:latest"),
    }
}
