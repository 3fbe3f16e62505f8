//! What was recorded about a run, in the past tense. The history of these facts is the truth about
//! a task; [`super::state::State`] is its fold. Events are kept for ever: fields may be added with a
//! default, never renamed.

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
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Stands for the name of the task in a hint, until it is known.
pub const TASK_ID: &str = "{id}";

/// Why a task errored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// The cause.
    pub code: FailureCode,
    /// What happened, with Docker's own reason.
    pub message: String,
    /// What to do about it; may be empty.
    #[serde(default)]
    pub hint: String,
}

/// Causes of failure. Their wire names are stable; `docs/reference/failures.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The engine did not answer until the deadline.
    #[serde(rename = "docker_unavailable")]
    EngineUnavailable,
    /// The engine refused what the task needs.
    #[serde(rename = "docker_refused")]
    EngineRefused,
    /// No free subnet is left in `subnetPool`.
    SubnetsExhausted,
    /// Swarm handed out no addresses.
    NoAddresses,
    /// The bundle is gone from the disk.
    BundleMissing,
    /// A node did not get the bundle.
    DeliveryFailed,
    /// The sidecar did not start or does not answer.
    DiscoveryFailed,
    /// A worker ended, or could not be started, before the test began.
    WorkerFailed,
    /// A worker finds no node.
    WorkerUnplaceable,
    /// Not all workers were there at the deadline.
    WorkersTimedOut,
    /// A worker did not answer its `readiness` probe in time.
    WorkersNotReady,
    /// A worker was lost while the test ran, and `onWorkerLoss` is `abort`.
    WorkerLost,
    /// The wait command did not succeed in time.
    WaitCommandFailed,
    /// The master could not be started.
    MasterFailed,
    /// The master finds no node.
    MasterUnplaceable,
    /// The master did not start until the deadline.
    MasterTimedOut,
    /// The master ended with another exit code than 0.
    MasterExit,
    /// The master's node was lost.
    MasterLost,
    /// The test ran longer than allowed.
    MaxDuration,
    /// The run was not over within the timeout of its client.
    Timeout,
    /// The client of the run did not renew its lease.
    LeaseExpired,
    /// The Director itself failed; a bug.
    Internal,
}

/// A recorded fact.
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
        /// Guards the run's sidecar; never leaves the Director but to it.
        token: String,
        /// What the client asked for beside the definition.
        #[serde(default, skip_serializing_if = "Terms::is_empty")]
        terms: Terms,
    },
    /// The step is about to be taken. Recorded before anything is done.
    StepStarted {
        /// The step.
        step: Step,
    },
    /// Every node that may run the task's containers has its bundles.
    BundlesDelivered {
        /// What the carriers say, node by node.
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
    /// The sidecar has its address and its node; it gets its turn before the workers.
    DiscoveryPlaced {
        /// Docker's id of its service.
        service: String,
    },
    /// The workers' service exists.
    WorkersCreated {
        /// Docker's id.
        service: String,
    },
    /// All workers run, and DNS and Swarm agree about their addresses.
    WorkersReady {
        /// The addresses, ascending.
        addresses: Vec<Ipv4Addr>,
        /// Milliseconds from the start of the first worker to that of the last, by the clocks of
        /// their nodes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_skew: Option<u64>,
    },
    /// The workers accept connections, as far as was asked for.
    WorkersProbed,
    /// A try of the wait command ended.
    WaitTried {
        /// Number of the try, from 1.
        attempt: u32,
        /// Exit code, if the command was started.
        exit_code: Option<i64>,
        /// Whether it succeeded.
        succeeded: bool,
        /// What was seen, in words.
        seen: String,
    },
    /// The delay runs until then.
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
    /// All replicas of the master run, or have run already.
    MasterStarted,
    /// A worker ended badly, or its node went away, while the test ran.
    WorkerLost {
        /// Number of the replica.
        replica: u32,
        /// Docker's own reason.
        reason: String,
    },
    /// All replicas of the master have ended.
    MasterEnded {
        /// The worst exit code; absent when Docker told none.
        exit_code: Option<i64>,
        /// Bytes of memory that each of them was allowed; absent when there was no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory_limit: Option<u64>,
    },
    /// The run failed.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Somebody asked for the end, and the run gave way.
    Stopped,
    /// Somebody asked for the end without grace periods: containers are killed from now on.
    Forced,
    /// Logs and exit codes are on the Director's disk.
    EvidenceKept {
        /// Number of log files.
        logs: u32,
        /// What could not be kept, in words.
        missing: Vec<String>,
        /// The workers as last seen.
        workers: Vec<WorkerSeen>,
        /// The master's worst exit code, if all its replicas have ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
        /// Workers that were found lost only now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<LostWorker>,
        /// What was left in `/atq/results`, container by container.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        results: Vec<ResultsSeen>,
        /// The last lines of a master that failed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        last_lines: Vec<String>,
    },
    /// Figures and verdict are worked out, and kept with the evidence.
    Reported {
        /// What the run says of what it tested.
        judgement: Judgement,
        /// Samples in the result files.
        samples: u64,
        /// Thousandths of a request per second, if the report has them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        milli_requests_per_second: Option<u64>,
        /// Why there are no figures though there are result files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// Clean-up was tried.
    CleanUpTried {
        /// What is still there; empty: nothing.
        leftovers: Vec<String>,
    },
}

/// A worker as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerSeen {
    /// Number of the replica.
    pub replica: u32,
    /// Docker's id of its node.
    pub node: Option<String>,
    /// Its address on the task's network.
    pub address: Option<Ipv4Addr>,
    /// Docker's word for its state.
    pub state: String,
    /// Its exit code, once it has ended.
    pub exit_code: Option<i64>,
    /// Docker's own reason when something is wrong.
    pub error: Option<String>,
}

/// What a container left in `/atq/results`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultsSeen {
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
    /// Whether it had to fetch; if not, it had them.
    pub fetched: bool,
    /// Bytes that came over the network.
    pub bytes: u64,
    /// Milliseconds that the carrier worked.
    pub millis: u64,
    /// Milliseconds that the node's clock is ahead of the Director's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset: Option<i64>,
}
