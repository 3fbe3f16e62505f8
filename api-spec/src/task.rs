//! Tasks: what is sent to start one, and what is told about it.

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
    /// The service that coordinates the workers. It gets their addresses in `WORKER_CSV_VIPS`.
    pub master: ServicePayload,
    /// The service that generates load.
    pub worker: ServicePayload,
    /// A command that has to succeed before the master starts. An empty one is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_command: Option<WaitCommand>,
    /// Seconds between ready workers and the master.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 86400)]
    pub delay: u64,
    /// Seconds for which the test may run, from the start of the master; then it ends as `errored` with the code
    /// `max_duration`. None: 86400 (a day).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 604800, example = 3600)]
    pub max_duration: Option<u64>,
    /// How bundles reach the containers. None: `delivery` of the Director's configuration, which is `push` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// What a worker that is lost while the test runs means.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_worker_loss: OnWorkerLoss,
    /// A name for what the test needs for itself, for example the system under test: 1 to 100 letters, digits, `_`,
    /// `-`, `.` and `:`. Two tasks with the same name here never run at the same time: the later one waits in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        max_length = 100,
        pattern = "^[A-Za-z0-9_.:-]*$",
        example = "shop-staging"
    )]
    pub exclusive: Option<String>,
    /// What the run must fulfil to get the verdict `pass`, for example `p95 < 500ms`. docs/reference/criteria.md has the grammar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100, example = json!(["p95 < 500ms", "errors < 1%", "p99 of Login < 2s"]))]
    pub criteria: Vec<String>,
    /// With fewer samples the verdict is `invalid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, example = 1000)]
    pub min_samples: Option<u64>,
    /// Patterns of the files that hold samples, relative to `/atq/results` of each container, for example `*.jtl`; `*`
    /// also matches `/`. Empty: every file whose format is recognised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100, example = json!(["*.jtl"]))]
    pub result_files: Vec<String>,
}

/// What a worker that is lost while the test runs means. Lost: it ended with another code than 0, was
/// refused by Docker, or its node went away. The first word is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnWorkerLoss {
    /// It is recorded, and the test goes on.
    #[default]
    Continue,
    /// The test is ended as `errored` with the code `worker_lost`.
    Abort,
}

/// How bundles come to the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// The Director brings them to every node that may run the containers, into volumes.
    Push,
    /// Every node has the Director's `glusterpath`, and they are mounted from there.
    Shared,
}

/// Whether a field can be left out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Definition of one of the two services of a task.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePayload {
    /// Name of the service on the task's network: 1 to 63 letters, digits, `_` and `-`, with a letter or digit at both
    /// ends. The two aliases of a task differ in more than case.
    #[schema(example = "Minions")]
    pub alias: String,
    /// Image reference.
    #[schema(example = "atq-jmeter:5.6.3")]
    pub image: String,
    /// Arguments of the container; the image's entrypoint stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// `NAME=value` each. `WORKER_CSV_VIPS` and names that start with `ATQ_` belong to the Director.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// Id of an uploaded bundle, which is mounted read-only at `/atq/data`. `fileId`, the name in answers, is accepted, too.
    #[serde(default, alias = "fileId", skip_serializing_if = "Option::is_none")]
    pub fileid: Option<String>,
    /// Only for the worker: files of the bundle whose records are distributed round-robin. Each replica finds its own
    /// part under the path of the whole file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub split: Vec<SplitFile>,
    /// User that the containers run as, in Docker's notation: a name or number, with or without a group. None: that of
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
    /// Names of existing overlay networks to join besides the task's own, for example that of the system under test;
    /// not the network of another task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// What each container may take, and what its node must have free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Where the containers may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Labels for the service and its containers. Keys have no blanks; those that start with
    /// `com.atq.` or `com.docker.` belong to the Director and to Docker.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"team": "checkout"}))]
    pub labels: BTreeMap<String, String>,
    /// Seconds between SIGTERM and SIGKILL, at most `limits.stopGracePeriod` of the Director's configuration. None: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 3600, example = 30)]
    pub stop_grace_period: Option<u64>,
    /// Only for the worker: what each of its containers must answer to before it counts as ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<WorkerReadiness>,
}

fn one() -> u32 {
    1
}

/// A command that runs in a container of its own on the task's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitCommand {
    /// Given to `/bin/sh -c` in the worker's image.
    #[serde(default)]
    pub command: String,
    /// What its trimmed standard output must equal; empty: anything.
    #[serde(default)]
    pub expected_result: String,
    /// Seconds for which a new try may begin; 0: one try.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 86400)]
    pub timeout: u64,
}

/// State of a task, in the words of 2018.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Everything up to the start of the master; also while queued.
    #[default]
    Initializing,
    /// The master runs.
    Started,
    /// Ended because somebody asked for it.
    Stopped,
    /// Ended with exit code 0.
    Finished,
    /// Ended in another way; `failure` says which.
    Errored,
}

/// Answer to a definition that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskAccepted {
    /// Id of the task.
    pub id: String,
    /// Its status.
    pub status: TaskStatus,
    /// Whether this invocation started the run; only when the request has an `Idempotency-Key`.
    #[serde(default, rename = "startedBy", skip_serializing_if = "Option::is_none")]
    pub started_by: Option<StartedBy>,
}

/// Who started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartedBy {
    /// A request with the same `Idempotency-Key`.
    This,
    /// A request with another key, or without one: the definitions are equal, and this client attaches to that run.
    Other,
}

/// The lease of a run: its client renews it, or the run is ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Its length in milliseconds.
    #[schema(example = 60000)]
    pub duration_ms: u64,
    /// When it expires unless it is renewed; absent once the outcome is fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// Answer to a definition that was not accepted.
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
    /// Stable name of the cause: `definition_faulty`.
    pub code: String,
    /// Always `about:blank`: the cause is named by `code`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Words of the HTTP status.
    pub title: String,
    /// The same as `error`.
    pub detail: String,
}

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Path of the field.
    #[schema(example = "worker.image")]
    pub field: String,
    /// What was seen and what would be right.
    pub message: String,
}

/// A task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Id: the name given in the definition.
    pub id: String,
    /// State in the words of 2018.
    pub status: TaskStatus,
    /// The coordinator.
    pub master: TaskService,
    /// The generators of load.
    pub worker: TaskService,
    /// The wait command, as defined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_command: Option<WaitCommand>,
    /// Seconds between ready workers and the master.
    pub delay: u64,
    /// Seconds for which the test may run, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<u64>,
    /// What a lost worker means, unless it is `continue`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_worker_loss: OnWorkerLoss,
    /// The name that the task has for itself, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<String>,
    /// What the run must fulfil, in canonical form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<String>,
    /// With fewer samples the verdict is `invalid`, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<u64>,
    /// Patterns of the files that hold samples, as defined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub result_files: Vec<String>,
    /// How bundles come to the containers, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Milliseconds after which the Director ends the run, counted from its acceptance, as its client set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1800000)]
    pub timeout_ms: Option<u64>,
    /// When that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<String>,
    /// The lease that the run's client renews, if it asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// What is being done.
    pub step: Step,
    /// Why the task errored, in one sentence: the message of `failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why the task errored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Milliseconds by step, for the steps that were taken. Beside them, once all workers run,
    /// `startSkew`: milliseconds from the start of the first worker to that of the last.
    #[schema(example = json!({"queued": 1, "network": 48, "discovery": 690, "workers": 31, "resolve": 1010, "startSkew": 214}))]
    pub timings: BTreeMap<String, u64>,
    /// The workers as last seen.
    pub workers: Vec<WorkerState>,
    /// Place in the queue, from 1, while the task waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// When the definition was accepted.
    pub created_at: String,
    /// When the master was seen running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When the outcome was fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Exit code of the master: the worst one when it has several replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Requests per second: the `throughput` of the report, in thousandths; absent without a report that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 41.84)]
    pub requests_per_second: Option<f64>,
    /// What the run says of what it tested, in one word; absent until the step `report` is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The verdict with its reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// What clean-up could not remove yet; it is tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
}

/// A service of a task. The environment is not part of any answer: it may hold passwords.
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
    /// What each container may take, and what its node must have free: processors as a number, memory
    /// in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Where the containers may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Labels of the user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Seconds between SIGTERM and SIGKILL, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<u64>,
    /// What each worker must answer to before it counts as ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<WorkerReadiness>,
    /// Files of the bundle that are dealt out to the replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<SplitFile>,
    /// Who the containers run as, as defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What is being done for a task, in this order.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
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
    /// Waits until all workers run and all their addresses resolve.
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

/// Why a task errored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// Stable name of the cause, for scripts.
    #[schema(example = "worker_failed")]
    pub code: String,
    /// What happened, with Docker's own reason.
    pub message: String,
    /// What to do about it; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// The last lines of the log of a master that failed, at most 10 of at most 500 characters each.
    #[serde(default, rename = "lastLines", skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// A worker as last seen.
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
    /// Docker's word for its state, for example `running`.
    pub state: String,
    /// Its exit code, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Docker's own reason when something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A page of tasks, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    /// The tasks of this page.
    pub tasks: Vec<Task>,
    /// Value of `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A recorded fact of a task's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskEvent {
    /// Number in the history, from 1.
    pub id: u64,
    /// When it was recorded.
    pub at: String,
    /// What happened, for example `stepStarted`.
    pub event: String,
    /// The step during which it happened.
    pub step: Step,
    /// Details; their names depend on `event`.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// An event of the stream, in the words of Server-Sent Events.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct StreamedEvent {
    /// Number in the history: what goes into `Last-Event-ID`. `deleted` has none.
    pub id: Option<String>,
    /// What happened; `deleted` ends the stream of a task that is deleted.
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
    /// When it was written.
    pub at: String,
    /// `master`, `worker` or `wait`.
    pub service: String,
    /// Number of the replica; of the try for `wait`.
    pub replica: u32,
    /// `stdout` or `stderr`; `stdout` for containers with a terminal.
    pub stream: String,
    /// The line.
    pub text: String,
}
