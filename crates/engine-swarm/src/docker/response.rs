//! Converts Docker's responses to the types of the port. All are bollard's types except the Swarm task, which has no
//! addresses there.

use super::request::NO_NODE;
use crate::error::SwarmError;
use crate::plan::Labels;
use crate::port::{
    Container, ContainerUsage, CpuUsage, Kind, Manager, Network, Node, NodeTraits, Object, Service,
    SwarmTask, TaskState, of_a_director, resource_usage,
};
use atq_engine::{JoinTokens, Machine};
use atq_node_protocol::stats::ContainerStats;
use atq_task::timestamp::Timestamp;
use bollard::models::{
    self, ContainerStatus, EndpointPortConfig, EndpointPortConfigProtocolEnum, LocalNodeState,
    NodeSpecAvailabilityEnum, NodeSpecRoleEnum, NodeState, TaskStatus,
};
use ipnet::Ipv4Net;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn sorted(labels: Option<HashMap<String, String>>) -> Labels {
    labels.into_iter().flatten().collect()
}

/// The manager; an error if Docker is not an active manager with a leader.
pub(super) fn manager(info: models::SystemInfo) -> Result<Manager, SwarmError> {
    let swarm = info.swarm.unwrap_or_default();
    let error = non_empty(swarm.error);
    match (swarm.local_node_state, error) {
        (Some(LocalNodeState::ACTIVE), _) if swarm.control_available != Some(true) => {
            Err(SwarmError::NotManager)
        }
        (Some(LocalNodeState::ACTIVE), None) => Ok(Manager {
            node_id: swarm.node_id.unwrap_or_default(),
            node_address: swarm.node_addr.unwrap_or_default(),
            engine_version: info.server_version.unwrap_or_default(),
        }),
        (None | Some(LocalNodeState::EMPTY | LocalNodeState::INACTIVE), _) => {
            Err(SwarmError::NotASwarm)
        }
        (Some(state), error) => Err(SwarmError::NoLeader {
            reason: error.unwrap_or_else(|| format!("this node is `{state}`")),
        }),
    }
}

impl From<ContainerStats> for ContainerUsage {
    fn from(response: ContainerStats) -> Self {
        let cpu = response.cpu_stats;
        Self {
            cpu: CpuUsage {
                used: cpu.cpu_usage.total_usage,
                elapsed: cpu.system_cpu_usage,
                processors: cpu.online_cpus,
            },
            usage: resource_usage(response.usage()),
        }
    }
}

pub(super) fn join_tokens(response: models::JoinTokens) -> JoinTokens {
    JoinTokens {
        manager: response.manager.unwrap_or_default(),
        worker: response.worker.unwrap_or_default(),
    }
}

impl From<models::Node> for Node {
    fn from(response: models::Node) -> Self {
        let status = response.status.unwrap_or_default();
        let description = response.description.unwrap_or_default();
        let spec = response.spec.unwrap_or_default();
        let engine = description.engine.unwrap_or_default();
        let platform = description.platform.unwrap_or_default();
        let resources = description.resources.unwrap_or_default();
        let amount =
            |amount: Option<i64>| amount.and_then(|n| n.try_into().ok()).unwrap_or_default();
        Self {
            id: response.id.unwrap_or_default(),
            machine: Machine {
                engine_version: engine.engine_version.unwrap_or_default(),
                os: platform.os.unwrap_or_default(),
                architecture: platform.architecture.unwrap_or_default(),
                nano_cpus: amount(resources.nano_cpus),
                memory: amount(resources.memory_bytes),
            },
            hostname: description.hostname.unwrap_or_default(),
            address: status.addr.unwrap_or_default(),
            ready: status.state == Some(NodeState::READY),
            active: spec.availability == Some(NodeSpecAvailabilityEnum::ACTIVE),
            traits: NodeTraits {
                manager: spec.role == Some(NodeSpecRoleEnum::MANAGER),
                labels: sorted(spec.labels),
                engine_labels: sorted(engine.labels),
            },
        }
    }
}

impl From<models::Network> for Network {
    fn from(response: models::Network) -> Self {
        let configs = response.ipam.and_then(|ipam| ipam.config);
        let configs = configs.into_iter().flatten();
        let subnets = configs.filter_map(|config| config.subnet);
        Self {
            overlay: response.driver.as_deref() == Some("overlay")
                && response.scope.as_deref() == Some("swarm")
                && response.ingress != Some(true),
            // IPv6 subnets do not parse and are left out.
            subnets: subnets.filter_map(|subnet| subnet.parse().ok()).collect(),
            id: response.id.unwrap_or_default(),
            name: response.name.unwrap_or_default(),
            labels: sorted(response.labels),
        }
    }
}

impl From<models::Service> for Service {
    fn from(response: models::Service) -> Self {
        let spec = response.spec.unwrap_or_default();
        Self {
            id: response.id.unwrap_or_default(),
            name: spec.name.unwrap_or_default(),
            labels: sorted(spec.labels),
        }
    }
}

impl From<models::ContainerSummary> for Container {
    fn from(response: models::ContainerSummary) -> Self {
        Self {
            id: response.id.unwrap_or_default(),
            labels: sorted(response.labels),
        }
    }
}

impl From<models::Volume> for Object {
    fn from(response: models::Volume) -> Self {
        Self {
            kind: Kind::Volume,
            name: response.name,
            labels: response.labels.into_iter().collect(),
        }
    }
}

/// A Swarm task with its addresses.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskResponse {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID", default)]
    service_id: String,
    #[serde(default)]
    slot: u32,
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    status: TaskStatus,
    desired_state: models::TaskState,
    networks_attachments: Option<Vec<Attachment>>,
    #[serde(default)]
    spec: models::TaskSpec,
}

impl TaskResponse {
    /// Whether the task replaces one that was stopped, and will never run.
    pub(super) fn is_placeholder(&self) -> bool {
        let placement = self.spec.placement.as_ref();
        let constraints = placement.and_then(|placement| placement.constraints.as_ref());
        constraints.is_some_and(|all| all.iter().any(|one| one == NO_NODE))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment {
    #[serde(default)]
    network: AttachedNetwork,
    addresses: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
struct AttachedNetwork {
    #[serde(rename = "ID")]
    id: String,
}

impl From<TaskResponse> for SwarmTask {
    fn from(response: TaskResponse) -> Self {
        let status = response.status;
        let reported = status.state.map_or(TaskState::New, state);
        let error = non_empty(status.err);
        let (state, error) = match is_stopped(reported, error.as_deref()) {
            true => (TaskState::Shutdown, None),
            false => (reported, error),
        };
        let container = status.container_status.unwrap_or_default();
        let ports = status.port_status.and_then(|status| status.ports);
        let attachments = response.networks_attachments.into_iter().flatten();
        let specified = response.spec.container_spec;
        Self {
            id: response.id,
            service_id: response.service_id,
            labels: of_a_director(specified.and_then(|spec| spec.labels).into_iter().flatten()),
            slot: response.slot,
            node_id: non_empty(response.node_id),
            state,
            desired: self::state(response.desired_state),
            since: status.timestamp.as_deref().and_then(Timestamp::parse),
            error,
            exit_code: exit_code(state, &container),
            container_id: non_empty(container.container_id),
            addresses: attachments.flat_map(pairs).collect(),
            ports: distinct(ports.unwrap_or_default()),
        }
    }
}

/// Whether the Swarm task ended on request although Docker reports a failure: of the containers that end together on a
/// node, only one removes their network, and the failed attempt of another replaces the state of its Swarm task
/// (ARCHITECTURE.md, How Docker Swarm behaves, 21).
fn is_stopped(state: TaskState, error: Option<&str>) -> bool {
    state == TaskState::Failed
        && error.is_some_and(|error| error.starts_with("error while removing network"))
}

/// Docker sends 0 also for tasks that have not ended or were never started.
fn exit_code(state: TaskState, container: &ContainerStatus) -> Option<i64> {
    let ended = matches!(
        state,
        TaskState::Complete | TaskState::Shutdown | TaskState::Failed | TaskState::Remove
    );
    let id = container.container_id.as_deref().unwrap_or_default();
    let started = !id.is_empty();
    let code = container.exit_code.unwrap_or_default();
    // A failure with code 0 comes from Docker: the process did not fail.
    let own = state != TaskState::Failed || code != 0;
    (ended && started && own).then_some(code)
}

fn pairs(attachment: Attachment) -> impl Iterator<Item = (String, Ipv4Addr)> {
    let id = attachment.network.id;
    let address = |text: String| Some(text.parse::<Ipv4Net>().ok()?.addr());
    let addresses = attachment.addresses.into_iter().flatten();
    addresses
        .filter_map(address)
        .map(move |address| (id.clone(), address))
}

/// Removes duplicates. Docker lists each port twice, for IPv4 and for IPv6, which may have different numbers. It does
/// not distinguish them, so both are kept, in Docker's order.
fn distinct(ports: Vec<EndpointPortConfig>) -> Vec<(u16, u16)> {
    let number = |port: Option<i64>| u16::try_from(port?).ok().filter(|port| *port != 0);
    let mut seen = HashSet::new();
    ports
        .into_iter()
        .filter(|port| port.protocol == Some(EndpointPortConfigProtocolEnum::TCP))
        .filter_map(|port| Some((number(port.target_port)?, number(port.published_port)?)))
        .filter(|pair| seen.insert(*pair))
        .collect()
}

fn state(state: models::TaskState) -> TaskState {
    use models::TaskState as Docker;
    match state {
        Docker::NEW | Docker::ALLOCATED => TaskState::New,
        Docker::PENDING => TaskState::Pending,
        Docker::ASSIGNED => TaskState::Assigned,
        Docker::ACCEPTED => TaskState::Accepted,
        Docker::PREPARING => TaskState::Preparing,
        Docker::READY => TaskState::Ready,
        Docker::STARTING => TaskState::Starting,
        Docker::RUNNING => TaskState::Running,
        Docker::COMPLETE => TaskState::Complete,
        Docker::SHUTDOWN => TaskState::Shutdown,
        Docker::FAILED => TaskState::Failed,
        Docker::REJECTED => TaskState::Rejected,
        Docker::REMOVE => TaskState::Remove,
        Docker::ORPHANED => TaskState::Orphaned,
    }
}

#[cfg(test)]
mod tests;
