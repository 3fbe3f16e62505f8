//! The state of a run: the fold of its history.

use super::event::{Failure, NodeDelivery, WorkerStatus};
use super::terms::Terms;
use super::timestamp::Timestamp;
use super::verdict::Judgement;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The steps of a run, in order. A run may skip steps, but never enters one twice.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Waits in the queue.
    #[default]
    Queued,
    /// Delivers the bundles to the nodes.
    Delivery,
    /// Creates the network.
    Network,
    /// Starts the sidecar.
    Discovery,
    /// Creates the workers.
    Workers,
    /// Waits until DNS and Swarm report the same addresses for all workers.
    Resolve,
    /// Waits until the workers pass their readiness probe.
    Readiness,
    /// Runs the wait command.
    WaitCommand,
    /// Waits for the configured delay.
    Delay,
    /// Starts the master.
    Master,
    /// The test runs.
    Running,
    /// Keeps logs and exit codes.
    Collect,
    /// Stops the workers, keeps their final logs, and computes figures and verdict.
    Report,
    /// Removes everything from Docker.
    Cleanup,
    /// The run is complete.
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

    /// The name of the step in responses, events and timings.
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

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The master ended with exit code 0.
    Finished,
    /// The run failed.
    Errored,
    /// A client stopped the run, or a condition of `stopWhen`.
    Stopped,
}

/// The requested state of a task. Written by the API only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Desired {
    /// Runs to completion.
    #[default]
    Run,
    /// Stopped early; the evidence is kept.
    Stopped,
    /// As [`Desired::Stopped`], without grace periods.
    StoppedByForce,
    /// Stopped early and deleted; nothing is kept.
    Deleted,
    /// As [`Desired::Deleted`], without grace periods.
    DeletedByForce,
}

impl Desired {
    /// The forced variant if `force` is set.
    pub fn by_force(self, force: bool) -> Self {
        match (self, force) {
            (Self::Stopped, true) => Self::StoppedByForce,
            (Self::Deleted, true) => Self::DeletedByForce,
            (desired, _) => desired,
        }
    }

    /// Merges two requests: the stronger one applies, and force is kept.
    pub fn and(self, other: Self) -> Self {
        self.max(other)
            .by_force(self.is_forced() || other.is_forced())
    }

    /// Whether the task is to be deleted.
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
    /// Docker's reason.
    pub reason: String,
}

/// The condition of `stopWhen` that ended a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetCondition {
    /// The condition, as defined.
    pub condition: String,
    /// The value that met it, with its unit.
    pub seen: String,
}

/// The state of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Number of the last event.
    pub seq: u64,
    /// The current step.
    pub step: Step,
    /// Whether the work of the current step is complete.
    pub step_done: bool,
    /// Start of the current step.
    pub step_started_at: Timestamp,
    /// Duration of each completed step, in milliseconds.
    pub timings: BTreeMap<Step, u64>,
    /// Suffix of the run in Docker names.
    pub run: String,
    /// Authorizes requests to the run's sidecar.
    pub token: String,
    /// Options of the client's request that are not part of the definition.
    #[serde(default, skip_serializing_if = "Terms::is_empty")]
    pub terms: Terms,
    /// Whether carriers may have been sent to the nodes.
    #[serde(default, rename = "carried")]
    pub delivery_started: bool,
    /// The delivery result of each node.
    #[serde(default)]
    pub delivered: Vec<NodeDelivery>,
    /// Subnet of the run's network.
    pub subnet: Option<Ipv4Net>,
    /// Number of subnets that were tried.
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
    /// Number of attempts of the wait command.
    pub wait_attempts: u32,
    /// Result of the last attempt of the wait command.
    pub wait_seen: String,
    /// End of the delay.
    pub delay_until: Option<Timestamp>,
    /// Docker's id of the master's service.
    pub master: Option<String>,
    /// Workers that were lost while the test ran.
    pub lost: Vec<LostWorker>,
    /// Status of the workers when the evidence was kept.
    pub workers: Vec<WorkerStatus>,
    /// Whether grace periods are skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Whether the final logs of containers that still ran at that time are kept, too.
    #[serde(default, rename = "heard_out")]
    pub final_logs_kept: bool,
    /// Whether Docker did not respond when the evidence was collected. The collection is then repeated.
    #[serde(default, rename = "unlooked")]
    pub evidence_unavailable: bool,
    /// The verdict; `None` until the step `report` is complete.
    #[serde(default)]
    pub judgement: Option<Judgement>,
    /// Thousandths of a request per second, if the report has them. Records hold whole numbers; lists show the rate without
    /// reading reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milli_requests_per_second: Option<u64>,
    /// The outcome.
    pub outcome: Option<Outcome>,
    /// The failure, if the outcome is `errored`.
    pub failure: Option<Failure>,
    /// Name of the client that stopped the run, if it was identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// The condition of `stopWhen` that ended the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_when: Option<MetCondition>,
    /// The last lines of a master that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// The master's worst exit code.
    pub exit_code: Option<i64>,
    /// Objects that clean-up could not remove.
    pub leftovers: Vec<String>,
    /// Number of clean-up attempts.
    pub cleanups: u32,
    /// Time at which the definition was accepted.
    pub created_at: Timestamp,
    /// Time at which the master was first seen running.
    pub started_at: Option<Timestamp>,
    /// Time at which the outcome was fixed.
    pub finished_at: Option<Timestamp>,
}

impl State {
    /// For each node, the milliseconds by which its clock was ahead of the Director's during the delivery.
    pub fn clocks_at_delivery(&self) -> BTreeMap<String, i64> {
        let delivered = self.delivered.iter();
        delivered
            .filter_map(|node| Some((node.node.clone(), node.clock_offset?)))
            .collect()
    }

    /// Whether the engine may have objects of the run: the first calls are made after these records.
    pub fn may_have_objects(&self) -> bool {
        self.subnets_tried > 0 || self.delivery_started
    }

    /// Whether figures and verdict of the run are stored.
    pub fn is_reported(&self) -> bool {
        self.step > Step::Report || (self.step == Step::Report && self.step_done)
    }

    /// Whether the run is complete.
    pub fn is_done(&self) -> bool {
        self.step == Step::Done
    }
}
