//! The lifecycle of a Swarm task as a function of time: nothing runs in the background, and each query computes the
//! current state. The times are measured ones (ARCHITECTURE.md, How Docker Swarm behaves).

use super::script::StartFailure;
use crate::plan::{Role, ServicePlan};
use crate::port::{SwarmTask, TaskState};
use atq_node_protocol::order::Work;
use atq_node_protocol::outcome::CarrierOutcome;
use atq_task::timestamp::Timestamp;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Times from the creation of a service to each state.
const STARTUP: [(u64, TaskState); 7] = [
    (0, TaskState::New),
    (20, TaskState::Pending),
    (70, TaskState::Assigned),
    (150, TaskState::Accepted),
    (200, TaskState::Preparing),
    (300, TaskState::Starting),
    (600, TaskState::Running),
];
/// The scheduler reports that it has found no node.
const PENDING_REPORTED: Duration = Duration::from_millis(66);
/// The node has refused the task: image or mount is missing.
const REJECTED_REPORTED: Duration = Duration::from_millis(200);
/// The node has failed to start the process.
const FAILURE_REPORTED: Duration = Duration::from_millis(800);
/// After the service's removal its Swarm tasks stay listed for this time, in their state at the removal: the effect of
/// SIGTERM on the process is never reported.
const LISTED_FOR: Duration = Duration::from_secs(4);
/// Containers outlive their Swarm tasks.
pub(super) const CONTAINER_LAG: Duration = Duration::from_millis(2200);
/// A node without heartbeats for this time is `down`.
pub(super) const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(12_700);
/// The names of a lost node's containers resolve for this time.
const STALE_NAMES_FOR: Duration = Duration::from_millis(5_800);

/// The predetermined behaviour of a Swarm task.
#[derive(Debug, Clone)]
pub(super) enum Behaviour {
    /// It gets no address. Swarm reports no reason.
    NoAddress,
    /// It will not run.
    StartFailure(StartFailure),
    /// It runs, and ends by itself after this time with this code.
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

/// A Swarm task and all later changes of it.
#[derive(Debug, Clone)]
pub(super) struct FakeTask {
    pub id: String,
    pub service: Arc<FakeService>,
    pub slot: u32,
    pub node: Option<String>,
    /// Start of its lifecycle; later for higher slots, since a node starts one container after the other.
    pub created: Instant,
    pub behaviour: Behaviour,
    pub addresses: Vec<(String, Ipv4Addr)>,
    pub port: Option<u16>,
    /// Time and exit code of a kill from outside.
    pub killed: Option<(Instant, i64)>,
    /// Time of SIGTERM.
    pub stop_sent: Option<Instant>,
    /// Time of the removal of its service.
    pub removed: Option<Instant>,
    /// Time of the loss of its node: the state at that time is still reported.
    pub lost: Option<Instant>,
    /// Whether all its volumes existed before.
    pub had_volumes: bool,
    /// Whether the volumes that are named after it were created.
    pub has_result_volumes: bool,
    /// Whether Docker no longer lists its port.
    pub port_forgotten: bool,
}

/// The observed state of a Swarm task at one moment.
struct ObservedState {
    state: TaskState,
    error: Option<String>,
    exit_code: Option<i64>,
}

impl ObservedState {
    fn new(state: TaskState) -> Self {
        Self {
            state,
            error: None,
            exit_code: None,
        }
    }

    fn with_error(state: TaskState, reason: &str) -> Self {
        Self {
            error: Some(reason.to_owned()),
            ..Self::new(state)
        }
    }

    /// The state of a process that has ended.
    fn ended(code: i64) -> Self {
        let failed = Self::with_error(TaskState::Failed, &format!("task: non-zero exit ({code})"));
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
        let observed = self.observed(now);
        let running = observed.state == TaskState::Running;
        SwarmTask {
            id: self.id.clone(),
            service_id: self.service.id.clone(),
            labels: crate::port::of_a_director(self.service.plan.labels.clone()),
            slot: self.slot,
            node_id: (observed.state >= TaskState::Assigned)
                .then(|| self.node.clone())
                .flatten(),
            state: observed.state,
            desired: self.desired(now, observed.state),
            since: Some(self.since()),
            error: observed.error,
            exit_code: observed.exit_code,
            container_id: self.has_container(now).then(|| self.container_id()),
            addresses: self.addresses.clone(),
            // A port is listed only while a process listens on it.
            ports: match (self.service.plan.host_port, self.port) {
                // Docker also lists the port for IPv6, which may be a different one, possibly the one that another
                // container has for IPv4.
                (Some(inside), Some(outside)) if running && !self.port_forgotten => {
                    vec![(inside, outside - 1), (inside, outside)]
                }
                _ => Vec::new(),
            },
        }
    }

    /// Time of the state `running`; the fake does not record the times of other states.
    fn since(&self) -> Timestamp {
        let age =
            (self.created + Self::time_to_run()).saturating_duration_since(self.service.created);
        Timestamp(0).plus(age)
    }

    pub fn container_id(&self) -> String {
        format!("c{}", self.id)
    }

    /// Whether its process runs, whatever state is reported.
    pub fn runs(&self, at: Instant) -> bool {
        let ends = self
            .removed
            .map(|removed| removed + self.shutdown_time(removed));
        matches!(self.state(at), TaskState::Starting | TaskState::Running)
            && ends.is_none_or(|ends| at < ends)
    }

    pub fn state(&self, now: Instant) -> TaskState {
        self.observed(now).state
    }

    fn observed(&self, now: Instant) -> ObservedState {
        // Changes on a lost node or after the removal are not reported.
        let reported_until = self.lost.into_iter().chain(self.removed).min();
        let now = reported_until.map_or(now, |until| until.min(now));
        let age = now.saturating_duration_since(self.created);
        match &self.behaviour {
            Behaviour::NoAddress => ObservedState::new(TaskState::New),
            Behaviour::StartFailure(start_failure) => start_failed(start_failure, age),
            Behaviour::Runs(exit) => self.running(*exit, age, now),
        }
    }

    fn running(&self, exit: Option<(Duration, i64)>, age: Duration, now: Instant) -> ObservedState {
        let started = self.created + Self::time_to_run();
        let by_itself = exit.map(|(after, code)| (started + after, code, false));
        // A kill after SIGTERM counts as stopped.
        let was_stopped = |at: Instant| self.stop_sent.is_some_and(|stop_sent| stop_sent <= at);
        let killed = self.killed.map(|(at, code)| (at, code, was_stopped(at)));
        let stop_sent = self.stop_sent.map(|stop_sent| {
            let (after, code) = self.service.script.on_term;
            let grace = self.service.plan.stop_grace;
            match after <= grace {
                // A task that has not started is never started.
                _ if stop_sent < started => (stop_sent, code, true),
                true => (stop_sent + after, code, true),
                false => (stop_sent + grace, 137, true),
            }
        });
        let first = [by_itself, killed, stop_sent]
            .into_iter()
            .flatten()
            .min_by_key(|(at, ..)| *at);
        match first {
            Some((at, ..)) if at > now => ObservedState::new(startup_state(age)),
            Some((at, code, true)) if at >= started => ObservedState {
                exit_code: Some(code),
                ..ObservedState::new(TaskState::Shutdown)
            },
            Some((at, code, false)) if at >= started => ObservedState::ended(code),
            // Killed before it was started.
            Some(_) => ObservedState::new(TaskState::Shutdown),
            None => ObservedState::new(startup_state(age)),
        }
    }

    /// The time from the creation of the service to the state `running`.
    pub fn time_to_run() -> Duration {
        Duration::from_millis(STARTUP[STARTUP.len() - 1].0)
    }

    fn desired(&self, now: Instant, state: TaskState) -> TaskState {
        let down = self
            .lost
            .is_some_and(|lost| now >= lost + HEARTBEAT_TIMEOUT);
        if self.removed.is_some() {
            TaskState::Remove
        } else if down
            || state.is_terminal()
            || self.stop_sent.is_some_and(|stop_sent| stop_sent <= now)
        {
            // Ended, and not restarted.
            TaskState::Shutdown
        } else {
            TaskState::Running
        }
    }

    /// The time when it disappears from Docker's list. A task on a lost node stays listed until the node returns.
    pub fn gone_at(&self) -> Option<Instant> {
        match self.lost {
            Some(_) => None,
            None => self
                .removed
                .map(|at| at + LISTED_FOR.max(self.shutdown_time(at))),
        }
    }

    /// The time that a process which still runs `at` its removal takes to end.
    fn shutdown_time(&self, at: Instant) -> Duration {
        let (after, _) = self.service.script.on_term;
        let stop_sent = self.stop_sent.unwrap_or(at) + after.min(self.service.plan.stop_grace);
        let ends = self
            .killed
            .map_or(stop_sent, |(killed, _)| killed.min(stop_sent));
        match self.state(at) {
            TaskState::Starting | TaskState::Running => ends.saturating_duration_since(at),
            _ => Duration::ZERO,
        }
    }

    /// The time when its container disappears.
    pub fn container_gone_at(&self) -> Option<Instant> {
        self.gone_at().map(|at| at + CONTAINER_LAG)
    }

    /// Whether its process has ended after SIGTERM without SIGKILL.
    pub fn ended_on_sigterm(&self, now: Instant) -> bool {
        let observed = self.observed(now);
        observed.state == TaskState::Shutdown && observed.exit_code.is_some_and(|code| code != 137)
    }

    /// The report of an ended carrier, unless its image has other output.
    pub fn carrier_report(&self, now: Instant) -> Option<String> {
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
        let code = self.observed(now).exit_code?;
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

    /// The run time of its process so far, or in total.
    pub fn ran(&self, now: Instant) -> Duration {
        let started = self.created + Self::time_to_run();
        let by_itself = match &self.behaviour {
            Behaviour::Runs(Some((after, _))) => Some(started + *after),
            _ => None,
        };
        let killed = self.killed.map(|(at, _)| at);
        let stop_sent = self.stop_sent.filter(|_| self.state(now).is_terminal());
        let ended = [Some(now), by_itself, killed, stop_sent]
            .into_iter()
            .flatten();
        let ended = ended.min().unwrap_or(now);
        ended.saturating_duration_since(started)
    }

    /// Whether its node has created a container.
    pub fn has_container(&self, now: Instant) -> bool {
        let observed = self.observed(now);
        let made = observed.state == TaskState::Starting || observed.state == TaskState::Running;
        made || (observed.state.is_terminal() && observed.exit_code.is_some())
    }

    /// Whether its names resolve to its address, with a delay of `lag`.
    pub fn resolves(&self, now: Instant, lag: Duration) -> bool {
        let known_until = self.lost.map(|at| at + STALE_NAMES_FOR);
        let since = self.created + Self::time_to_run() + lag;
        now >= since
            && known_until.is_none_or(|until| now < until)
            && self.removed.is_none()
            && self.state(now) == TaskState::Running
    }
}

fn startup_state(age: Duration) -> TaskState {
    let reached = |(at, _): &&(u64, TaskState)| age >= Duration::from_millis(*at);
    let last = STARTUP.iter().rev().find(reached);
    last.map_or(TaskState::New, |(_, state)| *state)
}

fn start_failed(start_failure: &StartFailure, age: Duration) -> ObservedState {
    match start_failure {
        StartFailure::Pending(reason) if age >= PENDING_REPORTED => {
            ObservedState::with_error(TaskState::Pending, reason)
        }
        StartFailure::Rejected(reason) if age >= REJECTED_REPORTED => {
            ObservedState::with_error(TaskState::Rejected, reason)
        }
        StartFailure::Failed(reason) if age >= FAILURE_REPORTED => ObservedState {
            exit_code: Some(127),
            ..ObservedState::with_error(TaskState::Failed, reason)
        },
        StartFailure::Pending(_) => ObservedState::new(startup_state(age).min(TaskState::Pending)),
        StartFailure::Rejected(_) => {
            ObservedState::new(startup_state(age).min(TaskState::Preparing))
        }
        StartFailure::Failed(_) => ObservedState::new(startup_state(age).min(TaskState::Starting)),
    }
}
