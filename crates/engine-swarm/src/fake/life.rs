//! The life of a Swarm task as a function of time: nothing runs in the background, and whoever asks
//! is told what would be seen now. The times are those measured (ARCHITECTURE.md, How Docker Swarm behaves).

use super::script::Trouble;
use crate::plan::{Role, ServicePlan};
use crate::port::{SwarmTask, TaskState};
use atq_node_protocol::order::Work;
use atq_node_protocol::outcome::CarrierOutcome;
use atq_task::timestamp::Timestamp;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// From the creation of a service to the process, by the states on the way.
const WALK: [(u64, TaskState); 7] = [
    (0, TaskState::New),
    (20, TaskState::Pending),
    (70, TaskState::Assigned),
    (150, TaskState::Accepted),
    (200, TaskState::Preparing),
    (300, TaskState::Starting),
    (600, TaskState::Running),
];
/// The scheduler has found no node, and says so.
const UNPLACED: Duration = Duration::from_millis(66);
/// The node has refused: image or mount is missing.
const REFUSED: Duration = Duration::from_millis(200);
/// The node has tried to start the process.
const NOT_STARTED: Duration = Duration::from_millis(800);
/// After the service's removal its Swarm tasks are still listed for so long, as what they were at the
/// removal: how a process takes its SIGTERM is never reported.
const LISTED: Duration = Duration::from_secs(4);
/// Containers outlive their Swarm tasks.
pub(super) const CONTAINER_LAG: Duration = Duration::from_millis(2200);
/// A node that says nothing for so long is `down`.
pub(super) const HEARTBEATS: Duration = Duration::from_millis(12_700);
/// The names of a lost node's containers resolve for so long.
const STALE_NAMES: Duration = Duration::from_millis(5_800);

/// What will become of a Swarm task.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// There is no address for it. Swarm gives no reason.
    NoAddress,
    /// It will not run.
    Trouble(Trouble),
    /// It runs, and ends by itself so long after its start, with this code.
    Runs(Option<(Duration, i64)>),
}

/// A service as it was created.
#[derive(Debug)]
pub(super) struct FakeService {
    pub id: String,
    pub plan: ServicePlan,
    /// By network id, when it has virtual addresses.
    pub virtual_ips: Vec<(String, Ipv4Addr)>,
    /// Ids of its networks, in the order of the plan.
    pub networks: Vec<String>,
    pub script: super::script::Script,
    pub created: Instant,
}

impl FakeService {
    /// Whether the name resolves to it for containers on the network.
    pub fn answers_to(&self, name: &str, network_id: &String) -> bool {
        let joined = self.plan.networks.iter().zip(&self.networks);
        joined
            .filter(|(_, id)| *id == network_id)
            .any(|(join, _)| self.plan.name == name || join.aliases.iter().any(|a| a == name))
    }
}

/// A Swarm task and all that will ever change about it.
#[derive(Debug, Clone)]
pub(super) struct FakeTask {
    pub id: String,
    pub service: Arc<FakeService>,
    pub slot: u32,
    pub node: Option<String>,
    /// When its walk began; later for higher slots, since a node starts one container after the other.
    pub born: Instant,
    pub fate: Fate,
    pub addresses: Vec<(String, Ipv4Addr)>,
    pub port: Option<u16>,
    /// Its process was ended from outside.
    pub killed: Option<(Instant, i64)>,
    /// Swarm has told it to end.
    pub told: Option<Instant>,
    /// Its service was removed.
    pub removed: Option<Instant>,
    /// Its node was lost: what it was then is what is still reported.
    pub lost: Option<Instant>,
    /// All its volumes were there before it.
    pub had_volumes: bool,
    /// Docker tells its port no more.
    pub forgotten: bool,
}

/// What can be seen of a Swarm task at one moment.
struct Seen {
    state: TaskState,
    error: Option<String>,
    exit_code: Option<i64>,
}

impl Seen {
    fn new(state: TaskState) -> Self {
        Self {
            state,
            error: None,
            exit_code: None,
        }
    }

    fn because(state: TaskState, reason: &str) -> Self {
        Self {
            error: Some(reason.to_owned()),
            ..Self::new(state)
        }
    }

    /// Of a process that has ended.
    fn ended(code: i64) -> Self {
        let failed = Self::because(TaskState::Failed, &format!("task: non-zero exit ({code})"));
        Self {
            exit_code: Some(code),
            ..match code {
                0 => Self::new(TaskState::Complete),
                _ => failed,
            }
        }
    }
}

impl FakeTask {
    /// The Swarm task as Docker's list shows it now.
    pub fn observe(&self, now: Instant) -> SwarmTask {
        let seen = self.seen(now);
        let running = seen.state == TaskState::Running;
        SwarmTask {
            id: self.id.clone(),
            service_id: self.service.id.clone(),
            labels: crate::port::of_a_director(self.service.plan.labels.clone()),
            slot: self.slot,
            node_id: (seen.state >= TaskState::Assigned)
                .then(|| self.node.clone())
                .flatten(),
            state: seen.state,
            desired: self.desired(now, seen.state),
            since: Some(self.since()),
            error: seen.error,
            exit_code: seen.exit_code,
            container_id: self.has_container(now).then(|| self.container_id()),
            addresses: self.addresses.clone(),
            // A port is known only as long as something listens behind it.
            ports: match (self.service.plan.host_port, self.port) {
                // Docker tells the port for IPv6 too, which may be another one, and may be the one
                // that another container has for IPv4.
                (Some(inside), Some(outside)) if running && !self.forgotten => {
                    vec![(inside, outside - 1), (inside, outside)]
                }
                _ => Vec::new(),
            },
        }
    }

    /// Of a state before or after `running` the fake does not keep the time.
    fn since(&self) -> Timestamp {
        let age = (self.born + Self::time_to_run()).saturating_duration_since(self.service.created);
        Timestamp(0).plus(age)
    }

    pub fn container_id(&self) -> String {
        format!("c{}", self.id)
    }

    /// Whether its process runs, whatever is reported of it.
    pub fn runs(&self, at: Instant) -> bool {
        let ends = self.removed.map(|removed| removed + self.dying(removed));
        matches!(self.state(at), TaskState::Starting | TaskState::Running)
            && ends.is_none_or(|ends| at < ends)
    }

    pub fn state(&self, now: Instant) -> TaskState {
        self.seen(now).state
    }

    fn seen(&self, now: Instant) -> Seen {
        // Nobody reports what happens on a lost node, or after the removal.
        let reported_until = self.lost.into_iter().chain(self.removed).min();
        let now = reported_until.map_or(now, |until| until.min(now));
        let age = now.saturating_duration_since(self.born);
        match &self.fate {
            Fate::NoAddress => Seen::new(TaskState::New),
            Fate::Trouble(trouble) => in_trouble(trouble, age),
            Fate::Runs(exit) => self.running(*exit, age, now),
        }
    }

    fn running(&self, exit: Option<(Duration, i64)>, age: Duration, now: Instant) -> Seen {
        let started = self.born + Self::time_to_run();
        let by_itself = exit.map(|(after, code)| (started + after, code, false));
        // One that was told to end before counts as told.
        let was_told = |at: Instant| self.told.is_some_and(|told| told <= at);
        let killed = self.killed.map(|(at, code)| (at, code, was_told(at)));
        let told = self.told.map(|told| {
            let (after, code) = self.service.script.on_term;
            let grace = self.service.plan.stop_grace;
            match after <= grace {
                // What has not been started never is.
                _ if told < started => (told, code, true),
                true => (told + after, code, true),
                false => (told + grace, 137, true),
            }
        });
        let first = [by_itself, killed, told]
            .into_iter()
            .flatten()
            .min_by_key(|(at, ..)| *at);
        match first {
            Some((at, ..)) if at > now => Seen::new(walk(age)),
            Some((at, code, true)) if at >= started => Seen {
                exit_code: Some(code),
                ..Seen::new(TaskState::Shutdown)
            },
            Some((at, code, false)) if at >= started => Seen::ended(code),
            // Ended from outside before it was started.
            Some(_) => Seen::new(TaskState::Shutdown),
            None => Seen::new(walk(age)),
        }
    }

    /// From the creation of the service to `running`.
    pub fn time_to_run() -> Duration {
        Duration::from_millis(WALK[WALK.len() - 1].0)
    }

    fn desired(&self, now: Instant, state: TaskState) -> TaskState {
        let down = self.lost.is_some_and(|lost| now >= lost + HEARTBEATS);
        if self.removed.is_some() {
            TaskState::Remove
        } else if down || state.is_terminal() || self.told.is_some_and(|told| told <= now) {
            // Ended, and not to be started again.
            TaskState::Shutdown
        } else {
            TaskState::Running
        }
    }

    /// When it disappears from Docker's list. One on a lost node waits there for its node.
    pub fn gone_at(&self) -> Option<Instant> {
        match self.lost {
            Some(_) => None,
            None => self.removed.map(|at| at + LISTED.max(self.dying(at))),
        }
    }

    /// What a process that still runs `at` its removal takes to end.
    fn dying(&self, at: Instant) -> Duration {
        let (after, _) = self.service.script.on_term;
        let told = self.told.unwrap_or(at) + after.min(self.service.plan.stop_grace);
        let ends = self.killed.map_or(told, |(killed, _)| killed.min(told));
        match self.state(at) {
            TaskState::Starting | TaskState::Running => ends.saturating_duration_since(at),
            _ => Duration::ZERO,
        }
    }

    /// When its container disappears, long after it has ended.
    pub fn container_gone_at(&self) -> Option<Instant> {
        self.gone_at().map(|at| at + CONTAINER_LAG)
    }

    /// Whether its process took its SIGTERM, and wrote its last words.
    pub fn ended_when_told(&self, now: Instant) -> bool {
        let seen = self.seen(now);
        seen.state == TaskState::Shutdown && seen.exit_code.is_some_and(|code| code != 137)
    }

    /// What a carrier says when it has ended, unless its image is told to say something else.
    pub fn last_words(&self, now: Instant) -> Option<String> {
        let work = self.service.plan.args.first()?;
        let carries = matches!(
            self.service.plan.role,
            Role::Delivery | Role::Collector | Role::Killer
        );
        if !carries || !self.service.script.lines.is_empty() {
            return None;
        }
        let node = self.node.as_deref().unwrap_or_default();
        let problem = self.service.script.fails_on.get(node);
        let code = self.seen(now).exit_code?;
        let outcome = CarrierOutcome {
            done: code == 0,
            work: work.clone(),
            node: node.to_owned(),
            fetched: work == Work::Fetch.as_str() && !self.had_volumes,
            bytes: if self.had_volumes { 0 } else { 1000 },
            millis: 20,
            clock_offset_ms: Some(1),
            problem: problem.cloned(),
        };
        serde_json::to_string(&outcome).ok()
    }

    /// For how long its process has run, or ran.
    pub fn ran(&self, now: Instant) -> Duration {
        let started = self.born + Self::time_to_run();
        let by_itself = match &self.fate {
            Fate::Runs(Some((after, _))) => Some(started + *after),
            _ => None,
        };
        let killed = self.killed.map(|(at, _)| at);
        let told = self.told.filter(|_| self.state(now).is_terminal());
        let ended = [Some(now), by_itself, killed, told].into_iter().flatten();
        let ended = ended.min().unwrap_or(now);
        ended.saturating_duration_since(started)
    }

    /// Whether the node made a container of it.
    pub fn has_container(&self, now: Instant) -> bool {
        let seen = self.seen(now);
        let made = seen.state == TaskState::Starting || seen.state == TaskState::Running;
        made || (seen.state.is_terminal() && seen.exit_code.is_some())
    }

    /// Whether its names resolve to its address, when names lag `lag` behind.
    pub fn resolves(&self, now: Instant, lag: Duration) -> bool {
        let known_until = self.lost.map(|at| at + STALE_NAMES);
        let since = self.born + Self::time_to_run() + lag;
        now >= since
            && known_until.is_none_or(|until| now < until)
            && self.removed.is_none()
            && self.state(now) == TaskState::Running
    }
}

fn walk(age: Duration) -> TaskState {
    let reached = |(at, _): &&(u64, TaskState)| age >= Duration::from_millis(*at);
    let last = WALK.iter().rev().find(reached);
    last.map_or(TaskState::New, |(_, state)| *state)
}

fn in_trouble(trouble: &Trouble, age: Duration) -> Seen {
    match trouble {
        Trouble::Pending(reason) if age >= UNPLACED => Seen::because(TaskState::Pending, reason),
        Trouble::Rejected(reason) if age >= REFUSED => Seen::because(TaskState::Rejected, reason),
        Trouble::Failed(reason) if age >= NOT_STARTED => Seen {
            exit_code: Some(127),
            ..Seen::because(TaskState::Failed, reason)
        },
        Trouble::Pending(_) => Seen::new(walk(age).min(TaskState::Pending)),
        Trouble::Rejected(_) => Seen::new(walk(age).min(TaskState::Preparing)),
        Trouble::Failed(_) => Seen::new(walk(age).min(TaskState::Starting)),
    }
}
