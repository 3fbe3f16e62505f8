//! Tasks: definitions and their state.

use crate::kernel::{Sysctls, Ulimits};
use crate::report::{Judgement, Verdict};
use crate::service::{Placement, Resources, SplitFile, WorkerReadiness};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Definition of a load test.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskPayload {
    /// Id of the task: 3 to 45 letters, digits, `_` and `-`, with a letter or digit at both ends.
    #[schema(
        pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9]$",
        example = "checkout-nightly"
    )]
    pub name: String,
    /// The service that coordinates the workers. It receives their addresses in `WORKER_CSV_VIPS`.
    pub master: ServicePayload,
    /// The service that generates load.
    pub worker: ServicePayload,
    /// Command that must succeed before the master starts. An empty command is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_command: Option<WaitCommand>,
    /// Delay in seconds between the readiness of the workers and the start of the master.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 86400)]
    pub delay: u64,
    /// Maximum duration of the test in seconds, from the start of the master; then it ends as `errored` with the code
    /// `max_duration`. Default: 86400 (a day).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 604800, example = 3600)]
    pub max_duration: Option<u64>,
    /// How bundles reach the containers. Default: `delivery` of the Director's configuration, which is `push` by
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Reaction to a worker that is lost while the test runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_worker_loss: OnWorkerLoss,
    /// Name of an exclusively used resource, for example the system under test: 1 to 100 letters, digits, `_`, `-`,
    /// `.` and `:`. Two tasks with the same name never run at the same time: the later one waits in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        max_length = 100,
        pattern = "^[A-Za-z0-9_.:-]*$",
        example = "shop-staging"
    )]
    pub exclusive: Option<String>,
    /// Criteria for the verdict `pass`, for example `p95 < 500ms`. The documentation has the grammar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100, example = json!(["p95 < 500ms", "errors < 1%", "p99 of Login < 2s"]))]
    pub criteria: Vec<String>,
    /// Conditions that end the run early, for example `errors > 20% for 30s`: the run ends as `stopped` with the verdict
    /// `fail` when one of them holds for the samples of the latest seconds. The documentation has the grammar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100, example = json!(["errors > 20% for 30s", "p95 of Login > 2s for 1m"]))]
    pub stop_when: Vec<String>,
    /// Minimum number of samples; with fewer samples the verdict is `invalid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, example = 1000)]
    pub min_samples: Option<u64>,
    /// Patterns of the files with samples, relative to `/atq/results` of each container, for example `*.jtl`; `*`
    /// also matches `/`. Default: every file with a known format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100, example = json!(["*.jtl"]))]
    pub result_files: Vec<String>,
}

/// The condition of `stopWhen` that ended a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetCondition {
    /// The condition, in canonical form.
    #[schema(example = "errors > 20% for 30s")]
    pub condition: String,
    /// The value that met it, with its unit.
    #[schema(example = "35.2 %")]
    pub seen: String,
}

/// Reaction to a worker that is lost while the test runs. A worker is lost if it ends with an exit code other than 0,
/// is rejected by Docker, or its node goes down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnWorkerLoss {
    /// The loss is recorded and the test continues. This is the default.
    #[default]
    Continue,
    /// The test ends as `errored` with the code `worker_lost`.
    Abort,
}

/// How bundles reach the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// The Director delivers bundles to volumes on every node that may run the containers.
    Push,
    /// Bundles are mounted from the Director's `glusterpath`, which every node must share.
    Shared,
}

/// Whether a field can be omitted.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Definition of one of the two services of a task.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePayload {
    /// Name of the service on the task's network: 1 to 63 letters, digits, `_` and `-`, with a letter or digit at
    /// both ends. The two aliases of a task must differ in more than case.
    #[schema(example = "Minions")]
    pub alias: String,
    /// Image reference.
    #[schema(example = "atq-jmeter:5.6.3")]
    pub image: String,
    /// Arguments of the container; the image's entrypoint is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables as `NAME=value`. `WORKER_CSV_VIPS` and names that start with `ATQ_` are reserved for the
    /// Director.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// Id of an uploaded bundle, mounted read-only at `/atq/data`. `fileId`, the name in responses, is also accepted.
    #[serde(default, alias = "fileId", skip_serializing_if = "Option::is_none")]
    pub fileid: Option<String>,
    /// Worker only: files of the bundle whose records are distributed round-robin. Each replica finds its own part
    /// under the path of the whole file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub split: Vec<SplitFile>,
    /// User of the containers, in Docker's notation: a name or number, with an optional group. Default: the user of
    /// the image. `/atq/results` belongs to root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        max_length = 100,
        pattern = "^[^\\s:]+(:[^\\s:]+)?$",
        example = "1000:1000"
    )]
    pub user: Option<String>,
    /// Number of containers, at most `limits.replicas` of the Director's configuration.
    #[serde(default = "one")]
    #[schema(minimum = 1, default = 1)]
    pub replicas: u32,
    /// Whether the containers get a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Names of existing overlay networks to join in addition to the task's own, for example that of the system under
    /// test; networks of other tasks are not allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Resource limits and reservations of each container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Placement of the containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Labels for the service and its containers. Keys contain no whitespace; keys that start with `com.atq.` or
    /// `com.docker.` are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"team": "checkout"}))]
    pub labels: BTreeMap<String, String>,
    /// Seconds between SIGTERM and SIGKILL, at most `limits.stopGracePeriod` of the Director's configuration.
    /// Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 3600, example = 30)]
    pub stop_grace_period: Option<u64>,
    /// Limits of the processes of each container, for example the number of open files and connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!({"nofile": 65536}))]
    pub ulimits: Option<Ulimits>,
    /// Settings of the kernel for the network of each container, for example the ports of outgoing connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!({"net.ipv4.ip_local_port_range": "1024 65535"}))]
    pub sysctls: Option<Sysctls>,
    /// Worker only: readiness check of each container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<WorkerReadiness>,
}

fn one() -> u32 {
    1
}

/// A command that runs in a separate container on the task's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitCommand {
    /// Command for `/bin/sh -c` in the worker's image.
    #[serde(default)]
    pub command: String,
    /// Expected standard output, without surrounding whitespace; empty: any output.
    #[serde(default)]
    pub expected_result: String,
    /// Time in seconds within which a new attempt may start; 0: one attempt.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 86400)]
    pub timeout: u64,
}

/// Status of a task, as defined in 2018.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// The master has not started yet; also while queued.
    #[default]
    Initializing,
    /// The master runs.
    Started,
    /// Stopped on request, or by a condition of `stopWhen`.
    Stopped,
    /// Ended with exit code 0.
    Finished,
    /// Failed; `failure` has the reason.
    Errored,
}

/// Response to an accepted definition.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskAccepted {
    /// Id of the task.
    pub id: String,
    /// Status of the task.
    pub status: TaskStatus,
    /// Whether this invocation started the run; only for requests with an `Idempotency-Key`.
    #[serde(default, rename = "startedBy", skip_serializing_if = "Option::is_none")]
    pub started_by: Option<StartedBy>,
}

/// The client that started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartedBy {
    /// A request with the same `Idempotency-Key`.
    This,
    /// A request with another key, or without one: the definitions are equal, and this client attaches to the
    /// existing run.
    Other,
}

/// The lease of a run: the run ends unless its client renews the lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Length in milliseconds.
    #[schema(example = 60000)]
    pub duration_ms: u64,
    /// Time of expiry unless renewed; absent once the outcome is determined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// Response to a refused definition.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskRefused {
    /// Id of the task; empty when the name is unusable.
    pub id: String,
    /// Always `errored`.
    pub status: TaskStatus,
    /// All faults in one sentence.
    pub error: String,
    /// Every fault of the definition.
    pub errors: Vec<FieldError>,
    /// Stable code of the cause: `definition_faulty`.
    pub code: String,
    /// Always `about:blank`; `code` identifies the cause.
    #[serde(rename = "type")]
    pub kind: String,
    /// Reason phrase of the HTTP status.
    pub title: String,
    /// The same as `error`.
    pub detail: String,
}

/// A fault of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Path of the field.
    #[schema(example = "worker.image")]
    pub field: String,
    /// The found and the expected value.
    pub message: String,
}

/// A task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Id of the task: the name in the definition.
    pub id: String,
    /// Status, as defined in 2018.
    pub status: TaskStatus,
    /// The master.
    pub master: TaskService,
    /// The workers.
    pub worker: TaskService,
    /// The wait command, as defined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_command: Option<WaitCommand>,
    /// Delay in seconds between the readiness of the workers and the start of the master.
    pub delay: u64,
    /// Maximum duration of the test in seconds, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<u64>,
    /// Reaction to a lost worker; absent for `continue`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_worker_loss: OnWorkerLoss,
    /// Name of the exclusively used resource, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<String>,
    /// Criteria, in canonical form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<String>,
    /// Conditions that end the run early, in canonical form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_when: Vec<String>,
    /// Minimum number of samples, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<u64>,
    /// Patterns of the files with samples, as defined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub result_files: Vec<String>,
    /// How bundles reach the containers; absent without bundles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Timeout of the run in milliseconds from its acceptance, as set by its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1800000)]
    pub timeout_ms: Option<u64>,
    /// Time at which the timeout expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<String>,
    /// The lease of the run, if its client requested one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Current step.
    pub step: Step,
    /// Reason of the failure in one sentence: the message of `failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Reason of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Duration of each step so far in milliseconds. Once all workers run, also `startSkew`: milliseconds between the
    /// starts of the first and the last worker.
    #[schema(example = json!({"queued": 1, "network": 48, "discovery": 690, "workers": 31, "resolve": 1010, "startSkew": 214}))]
    pub timings: BTreeMap<String, u64>,
    /// Last observed state of the workers.
    pub workers: Vec<WorkerState>,
    /// Position in the queue, from 1, while the task waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// Time at which the definition was accepted.
    pub created_at: String,
    /// Name of the client that started the run; absent if it was not identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "jenkins")]
    pub created_by: Option<String>,
    /// Name of the client that stopped the run; absent if it was not identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// The condition of `stopWhen` that ended the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_when: Option<MetCondition>,
    /// Time at which the master was first observed running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Time at which the outcome was determined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Exit code of the master; the worst one of several replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Requests per second: the `throughput` of the report, with three decimals; absent without a report that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 41.84)]
    pub requests_per_second: Option<f64>,
    /// Verdict on the run; absent until the step `report` is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The verdict with its reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// Objects that clean-up could not remove yet; the removal is retried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
}

/// A service of a task. Responses never contain the environment: it may contain passwords.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskService {
    /// Docker's id of the service; empty until it is created.
    pub id: String,
    /// Name on the task's network.
    pub alias: String,
    /// Id of the bundle; empty when there is none.
    pub file_id: String,
    /// Image reference.
    pub image: String,
    /// Number of containers.
    pub replicas: u32,
    /// Whether the containers have a terminal.
    pub tty: bool,
    /// Arguments of the container.
    pub args: Vec<String>,
    /// Networks besides the task's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Resource limits and reservations of each container: CPUs as a number, memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Placement of the containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Labels set by the user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Seconds between SIGTERM and SIGKILL, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<u64>,
    /// Readiness check of each worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<WorkerReadiness>,
    /// Files of the bundle that are split among the replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<SplitFile>,
    /// User of the containers, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Limits of the processes of each container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ulimits: Option<Ulimits>,
    /// Settings of the kernel for the network of each container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<Sysctls>,
}

/// Steps of a task, in their order.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
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
    /// Waits until all workers run and all their addresses resolve.
    Resolve,
    /// Waits until the workers pass their readiness check.
    Readiness,
    /// Runs the wait command.
    WaitCommand,
    /// Waits for the delay.
    Delay,
    /// Starts the master.
    Master,
    /// The test runs.
    Running,
    /// Copies logs, exit codes and results to the Director.
    Collect,
    /// Stops workers that still run, keeps their last lines, and computes figures and verdict.
    Report,
    /// Removes everything from Docker.
    Cleanup,
    /// Complete.
    Done,
}

/// Reason why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// Stable code of the cause, for scripts.
    #[schema(example = "worker_failed")]
    pub code: String,
    /// Description of the failure, with Docker's own reason.
    pub message: String,
    /// Suggested remedy; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Last lines of the log of a failed master, at most 10 of at most 500 characters each.
    #[serde(default, rename = "lastLines", skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// Last observed state of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerState {
    /// Number of the replica, from 1.
    pub replica: u32,
    /// Docker's id of its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its address on the task's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// State as named by Docker, for example `running`.
    pub state: String,
    /// Exit code, once the worker has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Docker's own text for an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A page of tasks, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    /// Tasks of this page.
    pub tasks: Vec<Task>,
    /// Value of `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An event of a task's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskEvent {
    /// Number in the history, from 1.
    pub id: u64,
    /// Time of the event.
    pub at: String,
    /// Name of the event, for example `stepStarted`.
    pub event: String,
    /// Step during the event.
    pub step: Step,
    /// Details; their names depend on `event`.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// An event of the stream, with the fields of Server-Sent Events.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct StreamedEvent {
    /// Number in the history, for `Last-Event-ID`. `deleted` has none.
    pub id: Option<String>,
    /// Name of the event; `deleted` ends the stream of a deleted task.
    pub event: String,
    /// The `TaskEvent` as JSON; `{}` for `deleted`.
    pub data: String,
}

/// The history of a task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskEvents {
    /// Id of the task.
    pub id: String,
    /// All events so far, oldest first.
    pub events: Vec<TaskEvent>,
}

/// A log line, as one line of NDJSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// Time at which the line was written.
    pub at: String,
    /// `master`, `worker` or `wait`.
    pub service: String,
    /// Number of the replica; for `wait`, number of the attempt.
    pub replica: u32,
    /// `stdout` or `stderr`; `stdout` for containers with a terminal.
    pub stream: String,
    /// The line.
    pub text: String,
}
