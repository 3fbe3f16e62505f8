//! The networks of the simulated Swarm and their addresses.

use super::Cluster;
use crate::error::SwarmError;
use crate::fake::task_lifecycle::{Behaviour, FakeTask};
use crate::plan::{Labels, NetworkPlan};
use crate::port::Network;
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(in crate::fake) struct FakeNetwork {
    pub network: Network,
    /// Whether another network has these addresses. Docker accepts that, and then assigns none.
    overlaps: bool,
    /// Whether it was removed from the Swarm. Nodes keep it until their last container on it is gone; its name stays
    /// taken until then.
    pub(super) removed: bool,
    created: Instant,
    pub(super) used: BTreeSet<Ipv4Addr>,
    cursor: u32,
}

/// A new network is listed without its subnet for this time.
const SUBNET_LAG: Duration = Duration::from_millis(10);

impl FakeNetwork {
    /// The network as Docker's list shows it now.
    pub fn observe(&self, now: Instant) -> Network {
        let mut network = self.network.clone();
        if now < self.created + SUBNET_LAG {
            network.subnets.clear();
        }
        network
    }

    /// Reserves the addresses of the network, the gateway, each node, and the broadcast.
    fn reserve(&mut self, nodes: usize) {
        let reserved = self.network.subnets.iter().flat_map(|subnet| {
            let first = u32::from(subnet.network());
            let nodes = u32::try_from(nodes).unwrap_or(u32::MAX / 2);
            (first..first + 2 + nodes).chain([u32::from(subnet.broadcast())])
        });
        self.used.extend(reserved.map(Ipv4Addr::from));
    }

    /// Swarm assigns addresses in order and reuses free ones only at the end.
    fn take_address(&mut self) -> Option<Ipv4Addr> {
        let subnet = *self.network.subnets.first()?;
        let size = 1u32 << (32 - subnet.prefix_len());
        let base = u32::from(subnet.network());
        for _ in 0..size {
            self.cursor = (self.cursor + 1) % size;
            let address = Ipv4Addr::from(base + self.cursor);
            if self.used.insert(address) {
                return Some(address);
            }
        }
        None
    }
}

impl Cluster {
    pub(super) fn insert_network(&mut self, name: &str, subnet: &str, overlay: bool) {
        let subnets = subnet.parse().into_iter().collect();
        self.push_network(name, subnets, Labels::new(), overlay);
    }

    pub fn push_network(
        &mut self,
        name: &str,
        subnets: Vec<Ipv4Net>,
        labels: Labels,
        overlay: bool,
    ) -> String {
        let id = self.id("network");
        let taken = |subnet: &Ipv4Net| {
            let others = self.networks.iter().filter(|n| !n.removed);
            others
                .flat_map(|n| &n.network.subnets)
                .any(|other| other.contains(subnet) || subnet.contains(other))
        };
        let overlaps = subnets.iter().any(taken);
        let mut network = FakeNetwork {
            network: Network {
                id: id.clone(),
                name: name.to_owned(),
                overlay,
                subnets,
                labels,
            },
            overlaps,
            removed: false,
            created: Instant::now(),
            used: BTreeSet::new(),
            cursor: 0,
        };
        network.reserve(self.nodes.len());
        self.networks.push(network);
        id
    }

    /// Finds a network that can be joined and removed, by id or name.
    pub fn network(&self, id: &str) -> Option<&FakeNetwork> {
        let is_it = |n: &&FakeNetwork| n.network.id == id || n.network.name == id;
        self.networks.iter().filter(|n| !n.removed).find(is_it)
    }

    pub fn create_network(&mut self, plan: &NetworkPlan) -> Result<String, SwarmError> {
        if self.networks.iter().any(|n| n.network.name == plan.name) {
            return Err(SwarmError::Conflict {
                what: format!("network `{}`", plan.name),
                reason: format!("network with name {} already exists", plan.name),
            });
        }
        Ok(self.push_network(&plan.name, vec![plan.subnet], plan.labels.clone(), true))
    }

    pub fn remove_network(&mut self, id: &str, now: Instant) -> Result<(), SwarmError> {
        let what = format!("network `{id}`");
        let Some(id) = self.network(id).map(|n| n.network.id.clone()) else {
            return Err(SwarmError::NotFound { what });
        };
        if let Some(user) = self.user_of(&id, now) {
            let reason = format!(
                "rpc error: code = FailedPrecondition desc = network {id} is in use by {user}"
            );
            return Err(SwarmError::InUse { what, reason });
        }
        self.leaked += self
            .listed(now)
            .filter(|task| task.addresses.iter().any(|(network, _)| *network == id))
            .count();
        for network in &mut self.networks {
            network.removed |= network.network.id == id;
        }
        Ok(())
    }

    /// The user of a network: a service, or a Swarm task that waits for an address. Swarm ignores tasks that are
    /// shutting down, which leaks their addresses.
    fn user_of(&self, network: &String, now: Instant) -> Option<String> {
        let service = self.services.iter().find(|s| s.networks.contains(network));
        if let Some(service) = service {
            return Some(format!("service {}", service.id));
        }
        let waiting = |task: &&FakeTask| {
            matches!(task.behaviour, Behaviour::NoAddress)
                && task.service.networks.contains(network)
        };
        let task = self.listed(now).find(waiting)?;
        Some(format!("task {}", task.id))
    }

    /// One address in each network, or `None` if one has no address.
    pub(super) fn take_addresses(
        &mut self,
        networks: &[String],
    ) -> Option<Vec<(String, Ipv4Addr)>> {
        let mut addresses = Vec::new();
        for id in networks {
            let network = self.networks.iter_mut().find(|n| n.network.id == *id)?;
            if network.overlaps {
                return None;
            }
            addresses.push((id.clone(), network.take_address()?));
        }
        Some(addresses)
    }
}
