//! Recorded events of a run, in the past tense. The history of a task is authoritative; [`super::state::State`] is its
//! fold. Events are kept forever: fields may be added with a default, never renamed.

use super::state::{LostWorker, Step};
use super::terms::Terms;
use super::timestamp::Timestamp;
use super::verdict::Judgement;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// An event with its place in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Number in the history, from 1, without gaps.
    pub seq: u64,
    /// Time of the recording.
    pub at: Timestamp,
    /// Name of the client that caused the event, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// Placeholder for the name of the task in a hint.
pub const TASK_ID: &str = "{id}";

/// The cause of an errored task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// The cause.
    pub code: FailureCode,
    /// The error message, with Docker's reason.
    pub message: String,
    /// A remedy; may be empty.
    #[serde(default)]
    pub hint: String,
}

/// Causes of failure. Their wire names are stable; `docs/reference/failures.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The engine did not respond before the deadline.
    #[serde(rename = "docker_unavailable")]
    EngineUnavailable,
    /// The engine rejected a request of the task.
    #[serde(rename = "docker_refused")]
    EngineRefused,
    /// No free subnet is left in `subnetPool`.
    SubnetsExhausted,
    /// Swarm assigned no addresses.
    NoAddresses,
    /// The bundle is missing on the disk.
    BundleMissing,
    /// A node did not get the bundle.
    DeliveryFailed,
    /// The sidecar did not start or does not respond.
    DiscoveryFailed,
    /// A worker ended or could not be started before the test began.
    WorkerFailed,
    /// No node accepts a worker.
    WorkerUnplaceable,
    /// Not all workers were ready at the deadline.
    WorkersTimedOut,
    /// A worker did not pass its `readiness` probe in time.
    WorkersNotReady,
    /// A worker was lost while the test ran, and `onWorkerLoss` is `abort`.
    WorkerLost,
    /// The wait command did not succeed in time.
    WaitCommandFailed,
    /// The master could not be started.
    MasterFailed,
    /// No node accepts the master.
    MasterUnplaceable,
    /// The master did not start before the deadline.
    MasterTimedOut,
    /// The master ended with another exit code than 0.
    MasterExit,
    /// The master's node was lost.
    MasterLost,
    /// The test ran longer than allowed.
    MaxDuration,
    /// The run did not complete within the timeout of its client.
    Timeout,
    /// The client of the run did not renew its lease.
    LeaseExpired,
    /// An internal error of the Director; a bug.
    Internal,
}

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "event",
    content = "data",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// The definition was accepted.
    Queued {
        /// Suffix of the run in Docker names.
        run: String,
        /// Authorizes requests to the run's sidecar; sent to no other program.
        token: String,
        /// Options of the client's request that are not part of the definition.
        #[serde(default, skip_serializing_if = "Terms::is_empty")]
        terms: Terms,
    },
    /// The step begins. Recorded before any of its work is done.
    StepStarted {
        /// The step.
        step: Step,
    },
    /// Every node that may run the task's containers has its bundles.
    BundlesDelivered {
        /// The reports of the carriers, one for each node.
        nodes: Vec<NodeDelivery>,
    },
    /// A network with this subnet is about to be created.
    SubnetChosen {
        /// The subnet.
        subnet: Ipv4Net,
    },
    /// The network exists.
    NetworkCreated {
        /// Docker's id.
        id: String,
    },
    /// The sidecar has its address and its node. It is placed before the workers.
    DiscoveryPlaced {
        /// Docker's id of its service.
        service: String,
    },
    /// The workers' service exists.
    WorkersCreated {
        /// Docker's id.
        service: String,
    },
    /// All workers run, and DNS and Swarm report the same addresses.
    WorkersReady {
        /// The addresses, ascending.
        addresses: Vec<Ipv4Addr>,
        /// Milliseconds from the start of the first worker to that of the last, by the clocks of
        /// their nodes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_skew: Option<u64>,
    },
    /// The workers passed the readiness probe, if there is one.
    WorkersProbed,
    /// An attempt of the wait command ended.
    WaitTried {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Exit code, if the command was started.
        exit_code: Option<i64>,
        /// Whether it succeeded.
        succeeded: bool,
        /// Description of the result.
        seen: String,
    },
    /// The delay began.
    DelayStarted {
        /// Its end.
        until: Timestamp,
    },
    /// The delay is over.
    DelayEnded,
    /// The master's service exists.
    MasterCreated {
        /// Docker's id.
        service: String,
    },
    /// All replicas of the master run or have run.
    MasterStarted,
    /// A worker failed, or its node was lost, while the test ran.
    WorkerLost {
        /// Number of the replica.
        replica: u32,
        /// Docker's reason.
        reason: String,
    },
    /// All replicas of the master have ended.
    MasterEnded {
        /// The worst exit code; absent when Docker reported none.
        exit_code: Option<i64>,
        /// Memory limit of each replica in bytes; absent when there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory_limit: Option<u64>,
    },
    /// The run failed.
    Failed {
        /// The failure.
        failure: Failure,
    },
    /// The run stops on request.
    Stopped,
    /// The run stops because a condition of `stopWhen` is met.
    StopConditionMet {
        /// The condition, as defined.
        condition: String,
        /// The value of the latest window, with its unit.
        seen: String,
    },
    /// The run is ended by force: from now on containers are killed without grace period.
    Forced,
    /// Logs and exit codes are on the Director's disk.
    EvidenceKept {
        /// Number of log files.
        logs: u32,
        /// Descriptions of the evidence that could not be kept.
        missing: Vec<String>,
        /// The last known status of the workers.
        workers: Vec<WorkerStatus>,
        /// The master's worst exit code, if all its replicas have ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
        /// Workers whose loss was detected only now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<LostWorker>,
        /// Results kept from `/atq/results`, for each container.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        results: Vec<ResultsSummary>,
        /// The last lines of a master that failed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        last_lines: Vec<String>,
    },
    /// Figures and verdict are computed and kept with the evidence.
    Reported {
        /// The verdict and its reasons.
        judgement: Judgement,
        /// Samples in the result files.
        samples: u64,
        /// Thousandths of a request per second, if the report has them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        milli_requests_per_second: Option<u64>,
        /// The reason for missing figures when there are result files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// An attempt of the clean-up ended.
    CleanUpTried {
        /// Objects that remain; empty when clean-up is complete.
        leftovers: Vec<String>,
    },
}

/// The last known status of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Number of the replica.
    pub replica: u32,
    /// Docker's id of its node.
    pub node: Option<String>,
    /// Its address on the task's network.
    pub address: Option<Ipv4Addr>,
    /// Docker's name of its state.
    pub state: String,
    /// Its exit code, once it has ended.
    pub exit_code: Option<i64>,
    /// Docker's reason when something is wrong.
    pub error: Option<String>,
}

/// Summary of the results that a container left in `/atq/results`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultsSummary {
    /// The container, for example `worker.3`.
    pub source: String,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A node that has the bundles of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDelivery {
    /// Docker's id of the node.
    pub node: String,
    /// Whether the node fetched the bundles; `false` if it had them already.
    pub fetched: bool,
    /// Bytes transferred over the network.
    pub bytes: u64,
    /// Run time of the carrier in milliseconds.
    pub millis: u64,
    /// Milliseconds by which the node's clock is ahead of the Director's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset: Option<i64>,
}
