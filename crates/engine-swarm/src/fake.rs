//! A model of a Swarm in memory, which behaves as the real one was measured to (ARCHITECTURE.md): what
//! Docker refuses at once, what it accepts and never does, what lingers after a removal. The suite in
//! `tests/swarm_port/` holds it to the real one.
//!
//! Time is tokio's, so that with a paused clock a test of hours takes milliseconds. A call has its
//! effect when it is first polled and answers a little later; as with [`super::docker`], a change
//! happens even when the caller goes away meanwhile.

mod life;
mod logs;
mod port;
mod script;
#[cfg(test)]
mod tests;
mod whole;
mod world;

pub use self::script::ImageScript;
pub use self::whole::{NoBundles, engine, settings};

use self::world::World;
use crate::error::SwarmError;
use crate::plan::volumes::LABEL_BUNDLE;
use crate::plan::{Endpoint, Labels, ServicePlan};
use crate::port::TaskState;
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The address that errors name.
const HOST: &str = "unix:///fake.sock";
/// Labels of everything that a Director makes begin so.
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

/// Numbers of objects with labels of a Director that are still there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Networks.
    pub networks: usize,
    /// Services.
    pub services: usize,
    /// Swarm tasks.
    pub tasks: usize,
    /// Containers on the manager's node.
    pub containers: usize,
    /// Volumes, without those that hold a bundle and outlive its run.
    pub volumes: usize,
    /// Addresses that are lost until the manager restarts, since a network was removed before the
    /// Swarm tasks on it were gone (ARCHITECTURE.md, How Docker Swarm behaves, 11).
    pub leaked_addresses: usize,
}

/// When a call fails.
#[derive(Debug, Clone)]
enum Fault {
    /// Nothing happens.
    Refused(SwarmError),
    /// It happens, and the caller does not learn of it.
    AnswerLost(SwarmError),
}

type Hook = Arc<dyn Fn(usize, &PortCall) + Send + Sync>;

/// How the fake answers.
struct Behaviour {
    latency: Duration,
    name_lag: Duration,
    /// What every call is answered with.
    unwell: Option<SwarmError>,
    calls: Vec<PortCall>,
    faults: BTreeMap<usize, Fault>,
    /// What calls of a method are answered with.
    refused: BTreeMap<&'static str, SwarmError>,
    hook: Option<Hook>,
}

/// A fake Swarm; clones are the same Swarm.
#[derive(Clone)]
pub struct FakeSwarm {
    world: Arc<Mutex<World>>,
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
            world: Arc::new(Mutex::new(World::new())),
            behaviour: Arc::new(Mutex::new(Behaviour {
                latency: Duration::from_millis(2),
                name_lag: Duration::ZERO,
                unwell: None,
                calls: Vec::new(),
                faults: BTreeMap::new(),
                refused: BTreeMap::new(),
                hook: None,
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The world as it is now.
    fn now(&self) -> (MutexGuard<'_, World>, Instant) {
        let now = Instant::now();
        let mut world = self.lock();
        world.settle(now);
        (world, now)
    }

    // ---- The world

    /// Makes an image known and describes what its containers do; they run until they are removed
    /// unless told otherwise.
    pub fn image(&self, name: &str) -> ImageScript<'_> {
        let key = (name.to_owned(), None);
        self.lock().scripts.entry(key.clone()).or_default();
        ImageScript { fake: self, key }
    }

    /// Why the registry of an image does not give it, and how long it takes to say so; see
    /// [`super::Swarm::image_problem`].
    pub fn registry_refuses(&self, image: &str, reason: &str, after: Duration) {
        let refusal = (reason.to_owned(), after);
        self.lock().refusals.insert(image.to_owned(), refusal);
    }

    /// Adds a node. The first one, `node-1`, is there already and is the manager.
    pub fn add_node(&self, id: &str) {
        self.lock().add_node(id);
    }

    /// Whether the node takes new containers (`false`: drained or paused).
    pub fn set_active(&self, node: &str, active: bool) {
        for found in self.lock().nodes.iter_mut().filter(|n| n.node.id == node) {
            found.node.active = active;
        }
    }

    /// The node's machine dies: nothing that happens there is reported any more, its names stop to
    /// resolve after 6 s, and after 13 s it counts as down.
    pub fn lose_node(&self, id: &str) {
        let (mut world, now) = self.now();
        world.lose_node(id, now);
    }

    /// The node is back, without the containers that ran there.
    pub fn return_node(&self, id: &str) {
        let (mut world, now) = self.now();
        world.return_node(id, now);
    }

    /// The manager restarts: Docker tells the ports of the containers that are there no more, though
    /// they can be reached as before.
    pub fn forget_ports(&self) {
        for task in &mut self.lock().tasks {
            task.forgotten = true;
        }
    }

    /// Adds an overlay network of the user's own; gives its id.
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
        let world = self.lock();
        let is_manager = world.nodes.first().is_some_and(|n| n.node.id == node);
        match is_manager {
            true => world.volumes.keys().cloned().collect(),
            false => {
                let own = world.other_volumes.iter().filter(|(on, _)| on == node);
                own.map(|(_, name)| name.clone()).collect()
            }
        }
    }

    /// Ends the process of one container now. `service` is a name or an id; slots count from 1.
    pub fn kill(&self, service: &str, slot: u32, code: i64) {
        let (mut world, now) = self.now();
        for task in &mut world.tasks {
            let named = task.service.plan.name == service || task.service.id == service;
            if named && task.slot == slot {
                task.killed = Some((now, code));
            }
        }
    }

    /// Time between the starts of two containers of a service; 20 ms unless set. For services that
    /// are created from now on.
    pub fn set_stagger(&self, stagger: Duration) {
        self.lock().stagger = stagger;
    }

    /// What listens behind a port of a node, by IPv4.
    pub fn listener(&self, port: u16) -> Option<ServicePlan> {
        let (world, now) = self.now();
        let task = world
            .tasks
            .iter()
            .find(|task| task.port == Some(port) && task.state(now) == TaskState::Running);
        task.map(|task| task.service.plan.clone())
    }

    /// What the name `name` resolves to for containers on `network` (name or id): service names and
    /// aliases, and `tasks.` in front of either. Empty when nobody knows the name.
    pub fn addresses_of(&self, name: &str, network: &str) -> Vec<Ipv4Addr> {
        let lag = self.behaviour().name_lag;
        let (world, now) = self.now();
        let Some(id) = world.network(network).map(|n| n.network.id.clone()) else {
            return Vec::new();
        };
        let (name, each) = match name.strip_prefix("tasks.") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let mut addresses: Vec<_> = world
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

    /// Names resolve so much later than their containers run; not at all unless set.
    pub fn set_name_lag(&self, lag: Duration) {
        self.behaviour().name_lag = lag;
    }

    /// The plans of the services that exist.
    pub fn plans(&self) -> Vec<ServicePlan> {
        self.lock()
            .services
            .iter()
            .map(|s| s.plan.clone())
            .collect()
    }

    /// What carries a Director's labels now.
    pub fn leftovers(&self) -> Leftovers {
        let ours = |labels: &Labels| labels.keys().any(|key| key.starts_with(LABEL_PREFIX));
        let (world, now) = self.now();
        Leftovers {
            networks: world
                .networks
                .iter()
                .filter(|n| ours(&n.network.labels))
                .count(),
            services: world
                .services
                .iter()
                .filter(|s| ours(&s.plan.labels))
                .count(),
            tasks: world
                .listed(now)
                .filter(|t| ours(&t.service.plan.labels))
                .count(),
            containers: world.containers(now).filter(|c| ours(&c.labels)).count(),
            volumes: world
                .volumes
                .values()
                .filter(|labels| ours(labels) && !labels.contains_key(LABEL_BUNDLE))
                .count(),
            leaked_addresses: world.leaked,
        }
    }

    // ---- The way to it

    /// Docker is stopped, or started again. Containers do not mind.
    pub fn down(&self, down: bool) {
        self.unwell(down.then(|| SwarmError::Unavailable {
            host: HOST.to_owned(),
            reason: "connection refused".to_owned(),
        }));
    }

    /// Answers every call with this error, for example [`SwarmError::NotASwarm`]; `None` ends that.
    pub fn unwell(&self, error: Option<SwarmError>) {
        self.behaviour().unwell = error;
    }

    /// From here on every call of this method fails with `error`, without effect.
    pub fn refuse(&self, method: &'static str, error: SwarmError) {
        self.behaviour().refused.insert(method, error);
    }

    /// The `k`-th call from the very first, counted from 1, fails without effect.
    pub fn fail_at(&self, k: usize, error: SwarmError) {
        self.behaviour().faults.insert(k, Fault::Refused(error));
    }

    /// The `k`-th call from the very first, counted from 1, has its effect and fails nevertheless: the
    /// answer was lost on the way.
    pub fn lose_answer_at(&self, k: usize, error: SwarmError) {
        self.behaviour().faults.insert(k, Fault::AnswerLost(error));
    }

    /// All calls so far, also those that failed.
    pub fn calls(&self) -> Vec<PortCall> {
        self.behaviour().calls.clone()
    }

    /// How long an answer takes; 2 ms unless set.
    pub fn set_latency(&self, latency: Duration) {
        self.behaviour().latency = latency;
    }

    /// Is called after the effect and before the answer of each call, with its number from 1. It may
    /// use the fake.
    pub fn on_call(&self, hook: impl Fn(usize, &PortCall) + Send + Sync + 'static) {
        self.behaviour().hook = Some(Arc::new(hook));
    }

    /// One call of the port.
    async fn call<T>(
        &self,
        method: &'static str,
        object: &str,
        effect: impl FnOnce(&mut World, Instant) -> Result<T, SwarmError>,
    ) -> Result<T, SwarmError> {
        let call = PortCall {
            method,
            object: object.to_owned(),
        };
        let (number, fault, latency, hook) = self.register(call.clone());
        let answer = match fault {
            Some(Fault::Refused(error)) => Err(error),
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
        effect: impl FnOnce(&mut World, Instant) -> Result<T, SwarmError>,
    ) -> Result<T, SwarmError> {
        let (mut world, now) = self.now();
        effect(&mut world, now)
    }

    fn register(&self, call: PortCall) -> (usize, Option<Fault>, Duration, Option<Hook>) {
        let mut behaviour = self.behaviour();
        let method = call.method;
        behaviour.calls.push(call);
        let number = behaviour.calls.len();
        let planned = behaviour.faults.remove(&number);
        let refused = behaviour.refused.get(method).or(behaviour.unwell.as_ref());
        let refused = refused.cloned().map(Fault::Refused);
        let hook = behaviour.hook.clone();
        (number, planned.or(refused), behaviour.latency, hook)
    }
}
