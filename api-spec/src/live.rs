//! Figures of a task while its test runs.

use crate::report::{CriterionResult, Figures, Series, Verdict};
use crate::task::{Failure, Step, TaskStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A task and its figures at a moment of the test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveTask {
    /// Id of the task.
    pub task: String,
    /// Suffix of the run in Docker names; absent before the run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Status of the task.
    pub status: TaskStatus,
    /// Current step of the run.
    pub step: Step,
    /// Position in the queue, from 1; absent unless the task is queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// Time since the start of the test in milliseconds, at its end its duration; absent before the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// Duration of the test in milliseconds after which the run fails.
    pub max_duration_ms: u64,
    /// Time in milliseconds since all result files were last read completely; absent before they are read, and after the
    /// end of the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
    /// The workers.
    pub workers: LiveWorkers,
    /// Resource usage of the containers in the latest sample, sorted by name; empty if it is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<LiveContainer>,
    /// The criteria for the figures so far, in the order of the definition. Their result may change until the end. While
    /// the test runs, a criterion with `for` is evaluated for the windows that end with each second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<CriterionResult>,
    /// The conditions that end the run early, in the order of the definition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_when: Vec<LiveCondition>,
    /// The figures: during the run those so far, after its end those of the report. Absent without result files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<LiveFigures>,
    /// Reason why there are no figures, or why they are not up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The verdict; absent before the end, and without `criteria`, `minSamples` and `stopWhen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The failure of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Whether the run has ended and its figures are final: the last state of a stream.
    pub is_final: bool,
}

/// An event of the stream, with the fields of Server-Sent Events.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct StreamedLiveTask {
    /// Identifies the state, for `Last-Event-ID`. `deleted` has none.
    pub id: Option<String>,
    /// `live`, or `deleted`, which ends the stream of a deleted task.
    pub event: String,
    /// The `LiveTask` as JSON; `{}` for `deleted`.
    pub data: String,
}

/// Number of workers, and the lost ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveWorkers {
    /// Number of replicas in the definition.
    pub wanted: u32,
    /// Number of running replicas.
    pub running: u32,
    /// Workers lost during the test.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LiveLoss>,
}

/// A worker that was lost during the test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveLoss {
    /// Number of the replica, from 1.
    pub replica: u32,
    /// Reason of the loss.
    pub reason: String,
}

/// Latest resource usage of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveContainer {
    /// Role and number.
    #[schema(example = "worker.3")]
    pub name: String,
    /// Id of its node.
    pub node: String,
    /// Number of CPUs in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Number of CPUs that it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<f64>,
    /// Memory in use in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Memory limit in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
}

/// A condition that ends a run early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveCondition {
    /// The condition, as defined.
    #[schema(example = "errors > 20% for 30s")]
    pub condition: String,
    /// Value of the latest window; absent if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "0.4 %")]
    pub seen: Option<String>,
    /// Reason why the value is unknown. An unknown value never ends a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// Whether it has ended the run.
    pub has_ended_run: bool,
}

/// The figures at a moment of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveFigures {
    /// The time up to which all files were read, in milliseconds since the Unix epoch.
    pub at: u64,
    /// End of the newest sample, in milliseconds since the Unix epoch; absent without samples with times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
    /// True if these are the tool's own figures of intervals, not of samples. False after the end of the run.
    pub is_summarised: bool,
    /// Figures of all samples since the start.
    pub total: Figures,
    /// Figures of the latest seconds. `throughput` is the rate.
    pub last: Figures,
    /// Length of `last` in seconds: less than 10 at the beginning of a run, 0 after its end.
    pub last_seconds: u64,
    /// Active users of all workers; absent if the tool does not report them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<f64>,
    /// The labels with the highest rates, after the end those with most samples; at most 50.
    pub labels: Vec<LiveGroup>,
    /// Number of other labels.
    pub labels_left_out: usize,
    /// The workers, sorted by name, if the files identify them.
    pub workers: Vec<LiveGroup>,
    /// Number of other workers.
    pub workers_left_out: usize,
    /// The most frequent response codes of all requests; empty after the end of the run.
    pub codes: Vec<CodeCount>,
    /// Distribution of the response times of all samples since the start, from the shortest; empty if the tool reports
    /// intervals or no times, and after the end of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_times: Vec<TimeBucket>,
    /// Figures over time since the start.
    pub series: Series,
    /// `series` has only the points that start at this time or later, in milliseconds since the Unix epoch: the client has
    /// the earlier ones. Absent if it has all points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series_from: Option<u64>,
    /// The files.
    pub sources: Vec<LiveSource>,
    /// Number of other files.
    pub sources_left_out: usize,
    /// Reasons why the figures cannot be trusted.
    pub doubts: Vec<String>,
    /// Notes that do not affect the trust in the figures.
    pub notes: Vec<String>,
}

/// Figures of a label or worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveGroup {
    /// Name of the label or of the worker.
    pub name: String,
    /// Figures since the start.
    pub total: Figures,
    /// Figures of the latest seconds.
    pub last: Figures,
}

/// Samples whose response time lies between the bound of the bucket before and that of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeBucket {
    /// Longest response time in milliseconds; absent in the last bucket, which has no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 250)]
    pub up_to: Option<u64>,
    /// Number of samples.
    pub count: u64,
}

/// Requests with a response code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodeCount {
    /// Response code, or the tool's name of the error.
    pub code: String,
    /// Number of requests.
    pub count: u64,
}

/// A result file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveSource {
    /// The container and the path in its `/atq/results`.
    pub path: String,
    /// Format as in the report; empty if unknown.
    pub format: String,
    /// How it is read.
    pub state: SourceState,
    /// Number of samples so far.
    pub samples: u64,
    /// End of the newest sample, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
    /// Number of times that it was truncated or replaced; its samples before that are not counted.
    pub restarts: u64,
    /// Reason why the samples are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
    /// Reason why it is not read, or why its figures are doubtful.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a result file is read during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SourceState {
    /// The format is not known yet.
    Waiting,
    /// Its samples or intervals are read while it grows.
    Reading,
    /// The format has figures at the end of a test only.
    AtTheEnd,
    /// It is not a result file, or cannot be read.
    Skipped,
    /// Its container is lost; its samples so far are counted.
    Lost,
    /// It is complete.
    Ended,
}

impl LiveFigures {
    /// The same with only those points over time that start at `at` or later, in milliseconds since the Unix epoch:
    /// for a client that has the others.
    #[must_use]
    pub fn since(mut self, at: u64) -> Self {
        self.series.points.retain(|point| point.at >= at);
        self.series_from = Some(at);
        self
    }
}
