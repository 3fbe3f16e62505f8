//! What Docker answers: only the parts that the port speaks of, and lenient, since Go sends `null`
//! for empty lists and every version adds fields and values. bollard's types are not used here: they
//! refuse values that they do not know, and their Swarm task has no addresses.

use crate::swarm::{
    Container, JoinTokens, Manager, Network, Node, Service, SwarmError, SwarmTask, TaskState,
};
use crate::task::plan::Labels;
use ipnet::Ipv4Net;
use serde::{Deserialize, Deserializer};
use std::net::Ipv4Addr;

/// `null` is the default value.
fn lenient<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[derive(Deserialize)]
pub(super) struct Info {
    #[serde(rename = "ServerVersion", default)]
    version: String,
    #[serde(rename = "Swarm", default, deserialize_with = "lenient")]
    swarm: InfoSwarm,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InfoSwarm {
    #[serde(rename = "NodeID")]
    node_id: String,
    node_addr: String,
    local_node_state: String,
    control_available: bool,
    error: String,
}

impl Info {
    pub fn manager(self) -> Result<Manager, SwarmError> {
        let swarm = self.swarm;
        match swarm.local_node_state.as_str() {
            "active" if !swarm.control_available => Err(SwarmError::NotManager),
            "active" if swarm.error.is_empty() => Ok(Manager {
                node_id: swarm.node_id,
                node_address: swarm.node_addr,
                engine_version: self.version,
            }),
            "" | "inactive" => Err(SwarmError::NotASwarm),
            state => Err(SwarmError::NoLeader {
                reason: filled(swarm.error).unwrap_or_else(|| format!("this node is `{state}`")),
            }),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SwarmAnswer {
    join_tokens: Tokens,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tokens {
    manager: String,
    worker: String,
}

impl From<SwarmAnswer> for JoinTokens {
    fn from(answer: SwarmAnswer) -> Self {
        Self {
            manager: answer.join_tokens.manager,
            worker: answer.join_tokens.worker,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NodeAnswer {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    description: NodeDescription,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NodeSpec {
    availability: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NodeDescription {
    hostname: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NodeStatus {
    state: String,
    addr: String,
}

impl From<NodeAnswer> for Node {
    fn from(answer: NodeAnswer) -> Self {
        Self {
            id: answer.id,
            hostname: answer.description.hostname,
            address: answer.status.addr,
            ready: answer.status.state == "ready",
            active: answer.spec.availability == "active",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkAnswer {
    id: String,
    name: String,
    #[serde(default)]
    driver: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    ingress: bool,
    #[serde(default, rename = "IPAM", deserialize_with = "lenient")]
    ipam: Ipam,
    #[serde(default, deserialize_with = "lenient")]
    labels: Labels,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    #[serde(deserialize_with = "lenient")]
    config: Vec<IpamConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IpamConfig {
    #[serde(default)]
    subnet: String,
}

impl From<NetworkAnswer> for Network {
    fn from(answer: NetworkAnswer) -> Self {
        let subnets = answer.ipam.config.iter();
        Self {
            overlay: answer.driver == "overlay" && answer.scope == "swarm" && !answer.ingress,
            // IPv6 subnets do not parse and are left out.
            subnets: subnets.filter_map(|c| c.subnet.parse().ok()).collect(),
            id: answer.id,
            name: answer.name,
            labels: answer.labels,
        }
    }
}

/// The id of what was created; networks say `Id`, services `ID`.
#[derive(Deserialize)]
pub(super) struct Created {
    #[serde(rename = "ID", alias = "Id")]
    pub id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceAnswer {
    #[serde(rename = "ID")]
    id: String,
    spec: ServiceSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceSpec {
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    labels: Labels,
}

impl From<ServiceAnswer> for Service {
    fn from(answer: ServiceAnswer) -> Self {
        Self {
            id: answer.id,
            name: answer.spec.name,
            labels: answer.spec.labels,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerAnswer {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    labels: Labels,
}

impl From<ContainerAnswer> for Container {
    fn from(answer: ContainerAnswer) -> Self {
        Self {
            id: answer.id,
            labels: answer.labels,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VolumesAnswer {
    #[serde(default, deserialize_with = "lenient")]
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
}

impl VolumesAnswer {
    pub fn names(self) -> Vec<String> {
        self.volumes.into_iter().map(|v| v.name).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskAnswer {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID", default)]
    service_id: String,
    #[serde(default)]
    slot: u32,
    #[serde(rename = "NodeID", default)]
    node_id: String,
    status: TaskStatus,
    #[serde(default)]
    desired_state: String,
    #[serde(default, deserialize_with = "lenient")]
    networks_attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskStatus {
    state: String,
    #[serde(default)]
    err: String,
    #[serde(default, deserialize_with = "lenient")]
    container_status: ContainerStatus,
    #[serde(default, deserialize_with = "lenient")]
    port_status: PortStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerStatus {
    #[serde(rename = "ContainerID")]
    container_id: String,
    exit_code: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct PortStatus {
    #[serde(deserialize_with = "lenient")]
    ports: Vec<Port>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    target_port: u16,
    #[serde(default)]
    published_port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment {
    #[serde(default)]
    network: AttachedNetwork,
    #[serde(default, deserialize_with = "lenient")]
    addresses: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AttachedNetwork {
    #[serde(rename = "ID")]
    id: String,
}

impl TaskAnswer {
    /// Fails with the name of a state that is not known.
    pub fn into_task(self) -> Result<SwarmTask, String> {
        let state = parse_state(&self.status.state)?;
        let container = self.status.container_status;
        let exit_code = exit_code(state, &container);
        Ok(SwarmTask {
            id: self.id,
            service_id: self.service_id,
            slot: self.slot,
            node_id: filled(self.node_id),
            state,
            desired: parse_state(&self.desired_state)?,
            error: filled(self.status.err),
            exit_code,
            container_id: filled(container.container_id),
            addresses: self
                .networks_attachments
                .into_iter()
                .flat_map(pairs)
                .collect(),
            ports: distinct(self.status.port_status.ports),
        })
    }
}

/// Docker sends 0 also for what has not ended, or was never started.
fn exit_code(state: TaskState, container: &ContainerStatus) -> Option<i64> {
    let ended = matches!(
        state,
        TaskState::Complete | TaskState::Shutdown | TaskState::Failed | TaskState::Remove
    );
    let started = !container.container_id.is_empty();
    // A failure with code 0 is one of Docker's own: the process had no chance to fail.
    let own = state != TaskState::Failed || container.exit_code != 0;
    (ended && started && own).then_some(container.exit_code)
}

fn pairs(attachment: Attachment) -> impl Iterator<Item = (String, Ipv4Addr)> {
    let id = attachment.network.id;
    let address = |text: String| Some(text.parse::<Ipv4Net>().ok()?.addr());
    let addresses = attachment.addresses.into_iter().filter_map(address);
    addresses.map(move |address| (id.clone(), address))
}

/// Docker lists each port twice: once for IPv4, once for IPv6.
fn distinct(ports: Vec<Port>) -> Vec<(u16, u16)> {
    let mut pairs: Vec<_> = ports
        .into_iter()
        .filter(|port| port.protocol == "tcp" && port.published_port != 0)
        .map(|port| (port.target_port, port.published_port))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

fn parse_state(text: &str) -> Result<TaskState, String> {
    Ok(match text {
        "new" | "allocated" => TaskState::New,
        "pending" => TaskState::Pending,
        "assigned" => TaskState::Assigned,
        "accepted" => TaskState::Accepted,
        "preparing" => TaskState::Preparing,
        "ready" => TaskState::Ready,
        "starting" => TaskState::Starting,
        "running" => TaskState::Running,
        "complete" => TaskState::Complete,
        "shutdown" => TaskState::Shutdown,
        "failed" => TaskState::Failed,
        "rejected" => TaskState::Rejected,
        "remove" => TaskState::Remove,
        "orphaned" => TaskState::Orphaned,
        other => return Err(format!("a Swarm task is in the unknown state `{other}`")),
    })
}

#[cfg(test)]
mod tests;
