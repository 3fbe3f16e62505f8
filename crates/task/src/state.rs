//! What is known about a run: the fold of its history.

use super::event::{Failure, NodeDelivery, WorkerSeen};
use super::terms::Terms;
use super::timestamp::Timestamp;
use super::verdict::Judgement;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The steps of a run, in the order in which they are taken; some are skipped, none is taken twice.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Waits for its turn.
    #[default]
    Queued,
    /// Brings the bundles to the nodes.
    Delivery,
    /// Creates the network.
    Network,
    /// Starts the sidecar.
    Discovery,
    /// Creates the workers.
    Workers,
    /// Waits until DNS and Swarm agree about all workers.
    Resolve,
    /// Waits until the workers accept connections.
    Readiness,
    /// Runs the wait command.
    WaitCommand,
    /// Sleeps the delay.
    Delay,
    /// Starts the master.
    Master,
    /// The test runs.
    Running,
    /// Keeps logs and exit codes.
    Collect,
    /// Hears the workers out, and works out figures and verdict.
    Report,
    /// Removes everything from Docker.
    Cleanup,
    /// The end.
    Done,
}

impl Step {
    /// All steps in order.
    pub const ALL: [Self; 15] = [
        Self::Queued,
        Self::Delivery,
        Self::Network,
        Self::Discovery,
        Self::Workers,
        Self::Resolve,
        Self::Readiness,
        Self::WaitCommand,
        Self::Delay,
        Self::Master,
        Self::Running,
        Self::Collect,
        Self::Report,
        Self::Cleanup,
        Self::Done,
    ];

    /// The step's name in answers, events and timings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivery => "delivery",
            Self::Network => "network",
            Self::Discovery => "discovery",
            Self::Workers => "workers",
            Self::Resolve => "resolve",
            Self::Readiness => "readiness",
            Self::WaitCommand => "waitCommand",
            Self::Delay => "delay",
            Self::Master => "master",
            Self::Running => "running",
            Self::Collect => "collect",
            Self::Report => "report",
            Self::Cleanup => "cleanup",
            Self::Done => "done",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The master ended with exit code 0.
    Finished,
    /// Anything else that nobody asked for.
    Errored,
    /// Somebody asked for it.
    Stopped,
}

/// Where a task is steered. Written by the API only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Desired {
    /// To its natural end.
    #[default]
    Run,
    /// To an early end; what was learnt is kept.
    Stopped,
    /// The same without grace periods.
    StoppedByForce,
    /// To an early end, and nothing is kept.
    Deleted,
    /// The same without grace periods.
    DeletedByForce,
}

impl Desired {
    /// The same, by force when `force` says so.
    pub fn by_force(self, force: bool) -> Self {
        match (self, force) {
            (Self::Stopped, true) => Self::StoppedByForce,
            (Self::Deleted, true) => Self::DeletedByForce,
            (desired, _) => desired,
        }
    }

    /// What both wish together: nothing that was wished is taken back.
    pub fn and(self, other: Self) -> Self {
        self.max(other)
            .by_force(self.is_forced() || other.is_forced())
    }

    /// Whether nothing is to be kept.
    pub fn is_deleted(self) -> bool {
        self >= Self::Deleted
    }

    /// Whether containers are to be killed at once.
    pub fn is_forced(self) -> bool {
        matches!(self, Self::StoppedByForce | Self::DeletedByForce)
    }
}

/// A worker that was lost while the test ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWorker {
    /// Number of the replica.
    pub replica: u32,
    /// Docker's own reason.
    pub reason: String,
}

/// What is known about a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Number of the last event.
    pub seq: u64,
    /// The present step.
    pub step: Step,
    /// Whether the present step has done its work.
    pub step_done: bool,
    /// When the present step began.
    pub step_started_at: Timestamp,
    /// Milliseconds by step, of the steps that are over.
    pub timings: BTreeMap<Step, u64>,
    /// Suffix of the run in Docker names.
    pub run: String,
    /// Guards the run's sidecar.
    pub token: String,
    /// What the client asked for beside the definition.
    #[serde(default, skip_serializing_if = "Terms::is_empty")]
    pub terms: Terms,
    /// Whether carriers were, or may have been, sent to the nodes.
    #[serde(default)]
    pub carried: bool,
    /// What the carriers found on the nodes.
    #[serde(default)]
    pub delivered: Vec<NodeDelivery>,
    /// Subnet of the run's network.
    pub subnet: Option<Ipv4Net>,
    /// How many subnets were tried.
    pub subnets_tried: u32,
    /// Docker's id of the run's network.
    pub network: Option<String>,
    /// Docker's id of the sidecar's service.
    pub discovery: Option<String>,
    /// Docker's id of the workers' service.
    pub worker: Option<String>,
    /// The workers' addresses, ascending.
    pub addresses: Vec<Ipv4Addr>,
    /// Milliseconds from the start of the first worker to that of the last.
    #[serde(default)]
    pub start_skew: Option<u64>,
    /// How often the wait command was tried.
    pub wait_attempts: u32,
    /// What the last try of the wait command showed.
    pub wait_seen: String,
    /// End of the delay.
    pub delay_until: Option<Timestamp>,
    /// Docker's id of the master's service.
    pub master: Option<String>,
    /// Workers that were lost while the test ran.
    pub lost: Vec<LostWorker>,
    /// The workers as they were when the evidence was kept.
    pub workers: Vec<WorkerSeen>,
    /// Whether grace periods are skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Whether the last words of what still ran then were kept too.
    #[serde(default)]
    pub heard_out: bool,
    /// Whether Docker told nothing when the evidence was to be kept: then there is a second look.
    #[serde(default)]
    pub unlooked: bool,
    /// What the run says of what it tested; `None` until the step `report` is over.
    #[serde(default)]
    pub judgement: Option<Judgement>,
    /// Thousandths of a request per second, if the report has them: records hold whole numbers, and lists show the rate without reading reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milli_requests_per_second: Option<u64>,
    /// How the run ended.
    pub outcome: Option<Outcome>,
    /// Why it errored.
    pub failure: Option<Failure>,
    /// The last lines of a master that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// The master's worst exit code.
    pub exit_code: Option<i64>,
    /// What clean-up left.
    pub leftovers: Vec<String>,
    /// How often clean-up was tried.
    pub cleanups: u32,
    /// When the definition was accepted.
    pub created_at: Timestamp,
    /// When the master was seen running.
    pub started_at: Option<Timestamp>,
    /// When the outcome was fixed.
    pub finished_at: Option<Timestamp>,
}

impl State {
    /// By node, milliseconds that its clock was ahead of the Director's when the bundles were brought.
    pub fn clocks_at_delivery(&self) -> BTreeMap<String, i64> {
        let delivered = self.delivered.iter();
        delivered
            .filter_map(|node| Some((node.node.clone(), node.clock_offset?)))
            .collect()
    }

    /// The state after the first event of a history.
    pub(super) fn queued(
        seq: u64,
        at: Timestamp,
        run: String,
        token: String,
        terms: Terms,
    ) -> Self {
        Self {
            seq,
            step_started_at: at,
            run,
            token,
            terms,
            created_at: at,
            ..Self::default()
        }
    }

    /// Whether the engine may have anything of the run: its first calls come after these records.
    pub fn may_have_objects(&self) -> bool {
        self.subnets_tried > 0 || self.carried
    }

    /// Whether nothing will happen any more.
    pub fn is_done(&self) -> bool {
        self.step == Step::Done
    }
}
