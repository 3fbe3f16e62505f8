//! The state of the simulated Swarm, and the rules by which Swarm changes it.

mod network;

use self::network::FakeNetwork;
use super::script::{Key, Script, StartFailure};
use super::task_lifecycle::{Behaviour, FakeService, FakeTask, HEARTBEAT_TIMEOUT};
use crate::error::SwarmError;
use crate::plan::{
    Endpoint, HOST_NETWORK, LABEL_RUN, Labels, MountSource, Role, Scale, ServicePlan,
};
use crate::port::with_tag;
use crate::port::{ApiVersion, Container, Node, NodeTraits};
use atq_engine::Machine;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The state of a simulated Swarm.
#[derive(Debug)]
pub(super) struct Cluster {
    pub nodes: Vec<FakeNode>,
    pub networks: Vec<FakeNetwork>,
    pub services: Vec<Arc<FakeService>>,
    pub tasks: Vec<FakeTask>,
    /// On the manager's node.
    pub volumes: BTreeMap<String, Labels>,
    /// On other nodes, by node and name.
    pub other_volumes: BTreeMap<(String, String), Labels>,
    pub scripts: BTreeMap<Key, Script>,
    /// Registries' refusals by image: the reason and the delay.
    pub refusals: BTreeMap<String, (String, Duration)>,
    /// Leaked addresses: their network was removed before their Swarm task.
    pub leaked: usize,
    /// Time between two containers of a service.
    pub stagger: Duration,
    /// One handle for each followed log, plus this one.
    pub following: Arc<()>,
    pub api_version: ApiVersion,
    ids: u64,
    next_port: u16,
}

#[derive(Debug)]
pub(super) struct FakeNode {
    pub node: Node,
    pub lost: Option<Instant>,
}

impl Cluster {
    /// A Swarm of one node, the manager, with Swarm's default networks.
    pub fn new() -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            networks: Vec::new(),
            services: Vec::new(),
            tasks: Vec::new(),
            volumes: BTreeMap::new(),
            other_volumes: BTreeMap::new(),
            scripts: BTreeMap::new(),
            refusals: BTreeMap::new(),
            leaked: 0,
            stagger: Duration::from_millis(20),
            following: Arc::default(),
            api_version: ApiVersion {
                major: 1,
                minor: 41,
            },
            ids: 0,
            next_port: 32769,
        };
        cluster.add_node("node-1");
        cluster.insert_network("bridge", "172.17.0.0/16", false);
        cluster.insert_network("ingress", "10.0.0.0/24", false);
        cluster
    }

    fn id(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}{:04}", self.ids)
    }

    pub fn add_node(&mut self, id: &str) {
        let number = self.nodes.len();
        self.nodes.push(FakeNode {
            node: Node {
                id: id.to_owned(),
                machine: Machine {
                    engine_version: "20.10.24".to_owned(),
                    os: "linux".to_owned(),
                    architecture: "x86_64".to_owned(),
                    nano_cpus: 2_000_000_000,
                    memory: 8 << 30,
                },
                hostname: format!("host-{id}"),
                address: match number {
                    0 => "127.0.0.1".to_owned(),
                    _ => format!("10.77.0.{}", number + 1),
                },
                ready: true,
                active: true,
                traits: NodeTraits {
                    manager: number == 0,
                    ..NodeTraits::default()
                },
            },
            lost: None,
        });
    }

    /// Removes objects that no longer exist at the time `now`, and creates the result volumes of started containers.
    pub fn settle(&mut self, now: Instant) {
        self.create_result_volumes(now);
        let gone = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for task in self.tasks.iter().filter(|task| gone(task.gone_at())) {
            for (id, address) in &task.addresses {
                let network = self.networks.iter_mut().find(|n| n.network.id == *id);
                if let Some(network) = network {
                    network.used.remove(address);
                }
            }
        }
        // A Swarm task whose container still exists is kept, but no longer listed.
        self.tasks.retain(|task| !gone(task.container_gone_at()));
        let tasks = &self.tasks;
        self.networks.retain(|n| {
            !n.removed
                || tasks
                    .iter()
                    .any(|t| t.service.networks.contains(&n.network.id))
        });
        for node in &mut self.nodes {
            node.node.ready = node.lost.is_none_or(|at| now < at + HEARTBEAT_TIMEOUT);
        }
    }

    /// The Swarm tasks that Docker lists.
    pub fn listed(&self, now: Instant) -> impl Iterator<Item = &FakeTask> {
        self.tasks
            .iter()
            .filter(move |task| task.gone_at().is_none_or(|at| at > now))
    }

    /// The containers on the manager's node.
    pub fn containers(&self, now: Instant) -> impl Iterator<Item = Container> {
        let manager = self.nodes.first().map(|n| n.node.id.clone());
        let here = self.tasks.iter().filter(move |task| task.node == manager);
        here.filter(move |task| task.has_container(now))
            .map(|task| Container {
                id: task.container_id(),
                labels: task.service.plan.labels.clone(),
            })
    }

    pub fn create_service(
        &mut self,
        plan: &ServicePlan,
        now: Instant,
    ) -> Result<String, SwarmError> {
        self.refuse(plan)?;
        let networks: Vec<String> = plan
            .networks
            .iter()
            .filter_map(|join| Some(self.network(&join.network)?.network.id.clone()))
            .collect();
        let virtual_ips = match plan.endpoint {
            Endpoint::VirtualIp => self.take_addresses(&networks).unwrap_or_default(),
            Endpoint::DnsRoundRobin => Vec::new(),
        };
        let script = self.script(plan);
        let service = Arc::new(FakeService {
            id: self.id("service"),
            plan: plan.clone(),
            virtual_ips,
            networks,
            script: script.clone().unwrap_or_default(),
            created: now,
        });
        self.services.push(service.clone());
        let behaviour = self.behaviour(plan, script);
        match plan.scale {
            Scale::Replicas(replicas) => (1..=replicas).for_each(|slot| {
                self.create_task(&service, slot - 1, slot, behaviour.clone(), now)
            }),
            // Tasks of a global service have no slot.
            Scale::EveryNode => (0..self.nodes_for(&plan.constraints).len() as u32)
                .for_each(|index| self.create_task(&service, index, 0, behaviour.clone(), now)),
        }
        Ok(service.id.clone())
    }

    /// Checks of Docker at the creation of a service; other faults show only in its Swarm tasks.
    fn refuse(&self, plan: &ServicePlan) -> Result<(), SwarmError> {
        let object = format!("service `{}`", plan.name);
        let refused = |reason: String| SwarmError::Rejected {
            what: format!("the creation of {object}"),
            reason,
        };
        if let Some(join) = plan
            .networks
            .iter()
            .find(|j| j.network != HOST_NETWORK && self.network(&j.network).is_none())
        {
            return Err(refused(format!("network {} not found", join.network)));
        }
        let bad = |text: &&String| !text.contains("==") && !text.contains("!=");
        if plan.constraints.iter().any(|text| bad(&text)) {
            return Err(refused(
                "constraint expected one operator from ==, !=".into(),
            ));
        }
        match self.services.iter().any(|s| s.plan.name == plan.name) {
            true => Err(SwarmError::Conflict {
                reason: format!(
                    "rpc error: code = AlreadyExists desc = name conflicts with an existing object: {object} already exists"
                ),
                what: object,
            }),
            false => Ok(()),
        }
    }

    fn script(&mut self, plan: &ServicePlan) -> Option<Script> {
        let own = (plan.image.clone(), Some(plan.role));
        let key = match self.scripts.contains_key(&own) {
            true => own,
            false => (plan.image.clone(), None),
        };
        let script = self.scripts.get_mut(&key)?;
        let mut own_script = script.clone();
        own_script.exits = script.next_exit().into_iter().collect();
        Some(own_script)
    }

    fn behaviour(&self, plan: &ServicePlan, script: Option<Script>) -> Behaviour {
        if self.nodes_for(&plan.constraints).is_empty() {
            let nodes = match self.nodes.len() {
                1 => "1 node".to_owned(),
                n => format!("{n} nodes"),
            };
            let reason =
                format!("no suitable node (scheduling constraints not satisfied on {nodes})");
            return Behaviour::StartFailure(StartFailure::Pending(reason));
        }
        match script {
            None => Behaviour::StartFailure(StartFailure::Rejected(format!(
                "No such image: {}",
                with_tag(&plan.image)
            ))),
            Some(Script {
                start_failure: Some(start_failure),
                ..
            }) => Behaviour::StartFailure(start_failure),
            Some(script) => Behaviour::Runs(script.exits.first().map(|code| (script.after, *code))),
        }
    }

    fn nodes_for(&self, constraints: &[String]) -> Vec<String> {
        let fits = |node: &&FakeNode| node.node.satisfies(constraints);
        self.nodes
            .iter()
            .filter(|node| node.node.ready && node.node.active)
            .filter(fits)
            .map(|node| node.node.id.clone())
            .collect()
    }

    /// Creates a Swarm task; `index` is its index among the tasks of its service, from 0.
    fn create_task(
        &mut self,
        service: &Arc<FakeService>,
        index: u32,
        slot: u32,
        behaviour: Behaviour,
        now: Instant,
    ) {
        let addresses = self.take_addresses(&service.networks);
        let behaviour = match addresses {
            Some(_) => behaviour,
            None => Behaviour::NoAddress,
        };
        let nodes = self.nodes_for(&service.plan.constraints);
        let place = index as usize % nodes.len().max(1);
        let port = service.plan.host_port.map(|_| self.take_port());
        let fails_on = &service.script.fails_on;
        let behaviour = match (behaviour, nodes.get(place)) {
            (Behaviour::Runs(Some((after, _))), Some(node)) if fails_on.contains_key(node) => {
                Behaviour::Runs(Some((after, 1)))
            }
            (behaviour, _) => behaviour,
        };
        // Swarm assigns tasks to a lost node until it notices the loss.
        let is_there = |node: &&FakeNode| Some(&node.node.id) == nodes.get(place);
        let lost = self.nodes.iter().find(is_there).and_then(|node| node.lost);
        let had_volumes = match (&behaviour, nodes.get(place)) {
            (Behaviour::Runs(_), Some(node)) if lost.is_none() => {
                self.use_volumes(service, slot, node)
            }
            _ => false,
        };
        let task = FakeTask {
            had_volumes,
            has_result_volumes: false,
            id: self.id("task"),
            service: service.clone(),
            slot,
            node: nodes.get(place).cloned(),
            created: now + self.stagger * index,
            behaviour,
            addresses: addresses.unwrap_or_default(),
            port,
            killed: None,
            stop_sent: None,
            removed: None,
            lost,
            port_forgotten: false,
        };
        self.tasks.push(task);
        if service.plan.role == Role::Killer
            && let Some(node) = nodes.get(place)
        {
            self.perform_kill(&service.plan, node, now + FakeTask::time_to_run());
        }
    }

    /// Executes the order of a carrier with the role `Killer` on its node.
    fn perform_kill(&mut self, plan: &ServicePlan, node: &str, at: Instant) {
        if self
            .scripts
            .get(&(plan.image.clone(), Some(plan.role)))
            .is_some_and(|script| script.fails_on.contains_key(node))
        {
            return;
        }
        let order = order(plan);
        let run = order["run"].as_str().unwrap_or_default().to_owned();
        let roles = order["roles"].as_array().cloned().unwrap_or_default();
        self.kill(at, |task| {
            let own = &task.service.plan;
            task.node.as_deref() == Some(node)
                && own.labels.get(LABEL_RUN) == Some(&run)
                && roles.iter().any(|role| role == own.role.as_str())
        });
    }

    /// Creates the volumes of a container except those for results; returns whether all existed. Volumes that a carrier
    /// removes are gone at once.
    fn use_volumes(&mut self, service: &FakeService, slot: u32, node: &str) -> bool {
        let plan = &service.plan;
        let mut had = true;
        for mount in &plan.mounts {
            let MountSource::Volume { name, labels } = &mount.source else {
                continue;
            };
            let name = name.replace("{{.Task.Slot}}", &slot.to_string());
            had &= self.create_volume(node, name, labels.clone());
        }
        let fails = service.script.fails_on.contains_key(node);
        if plan.role == Role::Delivery && plan.args == ["remove"] && !fails {
            self.perform_removal(plan, node);
        }
        had
    }

    /// Creates a volume; returns whether it existed.
    fn create_volume(&mut self, node: &str, name: String, labels: Labels) -> bool {
        let existed = match self.is_manager(node) {
            true => self.volumes.insert(name, labels),
            false => self.other_volumes.insert((node.to_owned(), name), labels),
        };
        existed.is_some()
    }

    fn is_manager(&self, node: &str) -> bool {
        self.nodes.first().is_some_and(|n| n.node.id == node)
    }

    /// Creates the volumes that are named after the Swarm task, once its container exists.
    fn create_result_volumes(&mut self, now: Instant) {
        let mut created = Vec::new();
        for task in &mut self.tasks {
            let Some(node) = task.node.clone() else {
                continue;
            };
            if task.has_result_volumes || !task.has_container(now) {
                continue;
            }
            task.has_result_volumes = true;
            for (name, labels) in result_volumes(task) {
                created.push((node.clone(), name, labels.clone()));
            }
        }
        for (node, name, labels) in created {
            self.create_volume(&node, name, labels);
        }
    }

    /// The labels of the volumes that neither a service uses nor a lost node has.
    pub fn unused_volumes(&self) -> impl Iterator<Item = &Labels> {
        let is_lost = |id: &String| {
            let node = self.nodes.iter().find(|n| n.node.id == *id);
            node.is_some_and(|n| n.lost.is_some())
        };
        let running = self.tasks.iter().filter(|task| task.removed.is_none());
        let used: Vec<String> = running
            .flat_map(|task| result_volumes(task).map(|(name, _)| name))
            .collect();
        let here = self.volumes.iter();
        let others = self.other_volumes.iter();
        let others = others.filter(move |((node, _), _)| !is_lost(node));
        here.chain(others.map(|((_, name), labels)| (name, labels)))
            .filter(move |(name, _)| !used.contains(name))
            .map(|(_, labels)| labels)
    }

    /// Whether a container on the manager's node uses this volume.
    pub fn is_used(&self, volume: &str, now: Instant) -> bool {
        let mut here = self.tasks.iter().filter(|task| {
            task.node
                .as_deref()
                .is_some_and(|node| self.is_manager(node))
                && task.has_container(now)
        });
        here.any(|task| result_volumes(task).any(|(name, _)| name == volume))
    }

    /// Executes the order of a carrier that removes volumes on its node.
    fn perform_removal(&mut self, plan: &ServicePlan, node: &str) {
        let order = order(plan);
        let named = |name: &String| {
            let mut names = order["volumes"].as_array().into_iter().flatten();
            names.any(|one| one == name)
        };
        let labelled = |labels: &Labels| {
            let mut sets = order["labels"].as_array().into_iter().flatten();
            sets.any(|set| {
                let mut set = set.as_object().into_iter().flatten();
                set.all(|(key, value)| labels.get(key).is_some_and(|own| value == own))
            })
        };
        self.other_volumes
            .retain(|(on, name), labels| on != node || !(named(name) || labelled(labels)));
    }

    fn take_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(32769);
        port
    }

    /// Sends SIGKILL to the processes of these Swarm tasks that run at the time `at`.
    pub fn kill(&mut self, at: Instant, wanted: impl Fn(&FakeTask) -> bool) {
        for task in self.tasks.iter_mut().filter(|task| wanted(task)) {
            if task.killed.is_none() && task.lost.is_none() && task.runs(at) {
                task.killed = Some((at, 137));
            }
        }
    }

    /// Stops a service; it stays, and its Swarm tasks stay listed.
    pub fn end_service(&mut self, id: &str, now: Instant) -> Result<(), SwarmError> {
        let named = |s: &FakeService| s.id == id || s.plan.name == id;
        if !self.services.iter().any(|service| named(service)) {
            let what = format!("service `{id}`");
            return Err(SwarmError::NotFound { what });
        }
        for task in self.tasks.iter_mut().filter(|task| named(&task.service)) {
            task.stop_sent = task.stop_sent.or(Some(now));
        }
        Ok(())
    }

    pub fn remove_service(&mut self, id: &str, now: Instant) -> Result<(), SwarmError> {
        let is_it = |s: &Arc<FakeService>| s.id == id || s.plan.name == id;
        let Some(at) = self.services.iter().position(is_it) else {
            let what = format!("service `{id}`");
            return Err(SwarmError::NotFound { what });
        };
        let service = self.services.remove(at);
        for task in &mut self.tasks {
            if task.service.id == service.id {
                task.removed = Some(now);
            }
        }
        Ok(())
    }

    pub fn lose_node(&mut self, id: &str, now: Instant) {
        for node in self.nodes.iter_mut().filter(|n| n.node.id == id) {
            node.lost = Some(now);
        }
        for task in self
            .tasks
            .iter_mut()
            .filter(|t| t.node.as_deref() == Some(id))
        {
            task.lost = Some(now);
        }
    }

    /// Reconnects a lost node. The containers that ran on it have ended.
    pub fn return_node(&mut self, id: &str, now: Instant) {
        for node in self.nodes.iter_mut().filter(|n| n.node.id == id) {
            node.lost = None;
        }
        for task in self
            .tasks
            .iter_mut()
            .filter(|t| t.node.as_deref() == Some(id))
        {
            task.lost = None;
            task.killed = task.killed.or(Some((now, 137)));
            // Removals that were requested while the node was lost start now.
            task.removed = task.removed.map(|_| now);
        }
    }
}

/// The volumes of a container that are named after its Swarm task.
fn result_volumes(task: &FakeTask) -> impl Iterator<Item = (String, &Labels)> {
    let mounts = task.service.plan.mounts.iter();
    mounts.filter_map(|mount| match &mount.source {
        MountSource::VolumePerTask { prefix, labels } => {
            Some((format!("{prefix}{}", task.id), labels))
        }
        _ => None,
    })
}

/// The order of a carrier.
fn order(plan: &ServicePlan) -> serde_json::Value {
    let mut variables = plan.environment.iter();
    let order = variables.find_map(|variable| variable.strip_prefix("ATQ_CARRIER_ORDER="));
    serde_json::from_str(order.unwrap_or_default()).unwrap_or_default()
}
