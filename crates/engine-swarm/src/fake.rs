//! A simulated Swarm in memory that reproduces the measured behaviour of the real one (ARCHITECTURE.md): immediate
//! refusals, accepted requests that never take effect, and objects that remain for a while after a removal. The suite
//! in `tests/swarm_port/` compares it with the real one.
//!
//! Time is tokio's, so that with a paused clock a test of hours takes milliseconds. A call takes effect when it is
//! first polled and returns a little later. As with [`super::docker`], a change happens even if the caller is
//! cancelled meanwhile.

mod cluster;
mod engine;
mod logs;
mod port;
mod script;
mod task_lifecycle;
#[cfg(test)]
mod tests;

pub use self::engine::{NoBundles, engine, settings};
pub use self::script::ImageScript;

use self::cluster::Cluster;
use crate::error::SwarmError;
use crate::plan::volumes::LABEL_BUNDLE;
use crate::plan::{Endpoint, Labels, ServicePlan};
use crate::port::{ApiVersion, TaskState};
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The address of Docker in errors.
const HOST: &str = "unix:///fake.sock";
/// Prefix of the labels of a Director.
const LABEL_PREFIX: &str = "com.atq.";

/// One call of the port, for logs and hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortCall {
    /// Name of the method.
    pub method: &'static str,
    /// The object's name or id; empty for lists.
    pub object: String,
}

impl fmt::Display for PortCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.object)
    }
}

/// Numbers of remaining objects with labels of a Director.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Networks.
    pub networks: usize,
    /// Services.
    pub services: usize,
    /// Swarm tasks, except those of removed services of carriers that remove volumes, which have ended.
    pub tasks: usize,
    /// Containers on the manager's node.
    pub containers: usize,
    /// Volumes, except those with a bundle, which outlive their run, those of services, and those on lost nodes.
    pub volumes: usize,
    /// Addresses that are leaked until the manager restarts, because a network was removed before the Swarm tasks on
    /// it were gone (ARCHITECTURE.md, How Docker Swarm behaves, 11).
    pub leaked_addresses: usize,
}

/// A simulated failure of a call.
#[derive(Debug, Clone)]
enum Fault {
    /// The call has no effect.
    RequestError(SwarmError),
    /// The call takes effect, but its answer is lost.
    AnswerLost(SwarmError),
}

type Hook = Arc<dyn Fn(usize, &PortCall) + Send + Sync>;

/// Behaviour of the port.
struct Behaviour {
    latency: Duration,
    name_lag: Duration,
    /// The error of every call.
    error: Option<SwarmError>,
    calls: Vec<PortCall>,
    faults: BTreeMap<usize, Fault>,
    /// The errors of calls, by method.
    refused: BTreeMap<&'static str, SwarmError>,
    hook: Option<Hook>,
}

/// A simulated Swarm; clones share their state.
#[derive(Clone)]
pub struct FakeSwarm {
    cluster: Arc<Mutex<Cluster>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl fmt::Debug for FakeSwarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSwarm").finish_non_exhaustive()
    }
}

impl Default for FakeSwarm {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeSwarm {
    /// A Swarm of one node, `node-1`, without images.
    pub fn new() -> Self {
        Self {
            cluster: Arc::new(Mutex::new(Cluster::new())),
            behaviour: Arc::new(Mutex::new(Behaviour {
                latency: Duration::from_millis(2),
                name_lag: Duration::ZERO,
                error: None,
                calls: Vec::new(),
                faults: BTreeMap::new(),
                refused: BTreeMap::new(),
                hook: None,
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster's current state.
    fn now(&self) -> (MutexGuard<'_, Cluster>, Instant) {
        let now = Instant::now();
        let mut cluster = self.lock();
        cluster.settle(now);
        (cluster, now)
    }

    // ---- The cluster

    /// Adds an image and describes its containers, which run until they are removed by default.
    pub fn image(&self, name: &str) -> ImageScript<'_> {
        let key = (name.to_owned(), None);
        self.lock().scripts.entry(key.clone()).or_default();
        ImageScript { fake: self, key }
    }

    /// Makes the registry refuse an image with a reason, after a delay; see [`super::Swarm::image_problem`].
    pub fn registry_refuses(&self, image: &str, reason: &str, after: Duration) {
        let refusal = (reason.to_owned(), after);
        self.lock().refusals.insert(image.to_owned(), refusal);
    }

    /// Adds a node. The first one, `node-1`, always exists and is the manager.
    pub fn add_node(&self, id: &str) {
        self.lock().add_node(id);
    }

    /// Sets the version of Docker's API; default 1.41.
    pub fn set_api_version(&self, major: usize, minor: usize) {
        self.lock().api_version = ApiVersion { major, minor };
    }

    /// Sets whether the node accepts new containers (`false`: drained or paused).
    pub fn set_active(&self, node: &str, active: bool) {
        for found in self.lock().nodes.iter_mut().filter(|n| n.node.id == node) {
            found.node.active = active;
        }
    }

    /// Simulates the loss of a node: nothing that happens there is reported any more, its names stop resolving after
    /// 6 s, and after 13 s the node is down.
    pub fn lose_node(&self, id: &str) {
        let (mut cluster, now) = self.now();
        cluster.lose_node(id, now);
    }

    /// Simulates the return of a node, without its containers.
    pub fn return_node(&self, id: &str) {
        let (mut cluster, now) = self.now();
        cluster.return_node(id, now);
    }

    /// Simulates a restart of the manager: Docker no longer lists the ports of existing containers, although they
    /// remain reachable.
    pub fn forget_ports(&self) {
        for task in &mut self.lock().tasks {
            task.port_forgotten = true;
        }
    }

    /// Adds an overlay network of the user and returns its id.
    pub fn add_network(&self, name: &str, subnet: Ipv4Net) -> String {
        self.lock()
            .push_network(name, vec![subnet], Labels::new(), true)
    }

    /// Adds a volume on the manager's node.
    pub fn add_volume(&self, name: &str, labels: Labels) {
        self.lock().volumes.insert(name.to_owned(), labels);
    }

    /// The names of the volumes on a node.
    pub fn volumes_on(&self, node: &str) -> Vec<String> {
        let (cluster, _) = self.now();
        let is_manager = cluster.nodes.first().is_some_and(|n| n.node.id == node);
        match is_manager {
            true => cluster.volumes.keys().cloned().collect(),
            false => {
                let own = cluster.other_volumes.keys().filter(|(on, _)| on == node);
                own.map(|(_, name)| name.clone()).collect()
            }
        }
    }

    /// Ends the process of a container now. `service` is a name or an id; slots count from 1.
    pub fn kill(&self, service: &str, slot: u32, code: i64) {
        let (mut cluster, now) = self.now();
        for task in &mut cluster.tasks {
            let named = task.service.plan.name == service || task.service.id == service;
            if named && task.slot == slot {
                task.killed = Some((now, code));
            }
        }
    }

    /// Sets the time between the starts of two containers of a service; default 20 ms. Applies to services that are
    /// created later.
    pub fn set_stagger(&self, stagger: Duration) {
        self.lock().stagger = stagger;
    }

    /// The service that listens on a port of a node, by IPv4.
    pub fn listener(&self, port: u16) -> Option<ServicePlan> {
        let (cluster, now) = self.now();
        let task = cluster
            .tasks
            .iter()
            .find(|task| task.port == Some(port) && task.state(now) == TaskState::Running);
        task.map(|task| task.service.plan.clone())
    }

    /// The addresses of `name` for containers on `network` (name or id): service names and aliases, and `tasks.` in
    /// front of either. Empty if the name is unknown.
    pub fn addresses_of(&self, name: &str, network: &str) -> Vec<Ipv4Addr> {
        let lag = self.behaviour().name_lag;
        let (cluster, now) = self.now();
        let Some(id) = cluster.network(network).map(|n| n.network.id.clone()) else {
            return Vec::new();
        };
        let (name, each) = match name.strip_prefix("tasks.") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let mut addresses: Vec<_> = cluster
            .tasks
            .iter()
            .filter(|task| task.service.answers_to(name, &id) && task.resolves(now, lag))
            .flat_map(
                |task| match each || task.service.plan.endpoint == Endpoint::DnsRoundRobin {
                    true => &task.addresses,
                    false => &task.service.virtual_ips,
                },
            )
            .filter(|(network, _)| *network == id)
            .map(|(_, address)| *address)
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Sets the delay between the start of a container and the resolution of its names; default zero.
    pub fn set_name_lag(&self, lag: Duration) {
        self.behaviour().name_lag = lag;
    }

    /// The plans of all existing services.
    pub fn plans(&self) -> Vec<ServicePlan> {
        self.lock()
            .services
            .iter()
            .map(|s| s.plan.clone())
            .collect()
    }

    /// The current objects with a Director's labels.
    pub fn leftovers(&self) -> Leftovers {
        let ours = |labels: &Labels| labels.keys().any(|key| key.starts_with(LABEL_PREFIX));
        let (cluster, now) = self.now();
        Leftovers {
            networks: cluster
                .networks
                .iter()
                .filter(|n| ours(&n.network.labels))
                .count(),
            services: cluster
                .services
                .iter()
                .filter(|s| ours(&s.plan.labels))
                .count(),
            tasks: cluster
                .listed(now)
                .filter(|t| ours(&t.service.plan.labels))
                .filter(|t| t.removed.is_none() || t.service.plan.args != ["remove"])
                .count(),
            containers: cluster.containers(now).filter(|c| ours(&c.labels)).count(),
            volumes: cluster
                .unused_volumes()
                .filter(|labels| ours(labels) && !labels.contains_key(LABEL_BUNDLE))
                .count(),
            leaked_addresses: cluster.leaked,
        }
    }

    // ---- Calls and failures

    /// Simulates that Docker stops, or starts again. Containers keep running.
    pub fn down(&self, down: bool) {
        self.fail_all(down.then(|| SwarmError::Unavailable {
            host: HOST.to_owned(),
            reason: "connection refused".to_owned(),
        }));
    }

    /// Makes every call fail with this error, for example [`SwarmError::NotASwarm`]; `None` ends that.
    pub fn fail_all(&self, error: Option<SwarmError>) {
        self.behaviour().error = error;
    }

    /// Makes every later call of this method fail with `error`, without effect.
    pub fn refuse(&self, method: &'static str, error: SwarmError) {
        self.behaviour().refused.insert(method, error);
    }

    /// Makes the `k`-th call since the start, counted from 1, fail without effect.
    pub fn fail_at(&self, k: usize, error: SwarmError) {
        self.behaviour()
            .faults
            .insert(k, Fault::RequestError(error));
    }

    /// Makes the `k`-th call since the start, counted from 1, fail after its effect: the answer is lost.
    pub fn lose_answer_at(&self, k: usize, error: SwarmError) {
        self.behaviour().faults.insert(k, Fault::AnswerLost(error));
    }

    /// All calls so far, including failed ones.
    pub fn calls(&self) -> Vec<PortCall> {
        self.behaviour().calls.clone()
    }

    /// Sets the latency of a call; default 2 ms.
    pub fn set_latency(&self, latency: Duration) {
        self.behaviour().latency = latency;
    }

    /// Sets a function that is called after the effect and before the answer of each call, with the number of the
    /// call, from 1. It may use the fake.
    pub fn on_call(&self, hook: impl Fn(usize, &PortCall) + Send + Sync + 'static) {
        self.behaviour().hook = Some(Arc::new(hook));
    }

    /// One call of the port.
    async fn call<T>(
        &self,
        method: &'static str,
        object: &str,
        effect: impl FnOnce(&mut Cluster, Instant) -> Result<T, SwarmError>,
    ) -> Result<T, SwarmError> {
        let call = PortCall {
            method,
            object: object.to_owned(),
        };
        let (number, fault, latency, hook) = self.register(call.clone());
        let answer = match fault {
            Some(Fault::RequestError(error)) => Err(error),
            Some(Fault::AnswerLost(error)) => self.apply(effect).and(Err(error)),
            None => self.apply(effect),
        };
        if let Some(hook) = hook {
            hook(number, &call);
        }
        sleep(latency).await;
        answer
    }

    fn apply<T>(
        &self,
        effect: impl FnOnce(&mut Cluster, Instant) -> Result<T, SwarmError>,
    ) -> Result<T, SwarmError> {
        let (mut cluster, now) = self.now();
        effect(&mut cluster, now)
    }

    fn register(&self, call: PortCall) -> (usize, Option<Fault>, Duration, Option<Hook>) {
        let mut behaviour = self.behaviour();
        let method = call.method;
        behaviour.calls.push(call);
        let number = behaviour.calls.len();
        let planned = behaviour.faults.remove(&number);
        let refused = behaviour.refused.get(method).or(behaviour.error.as_ref());
        let refused = refused.cloned().map(Fault::RequestError);
        let hook = behaviour.hook.clone();
        (number, planned.or(refused), behaviour.latency, hook)
    }
}
