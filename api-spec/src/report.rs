//! Reports on the result files of a run: figures, data of charts, a comparison, and the verdict.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The report of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Id of the task.
    pub task: String,
    /// Suffix of the run in Docker names.
    pub run: String,
    /// The result files.
    pub sources: Vec<ReportSource>,
    /// Start time of the first sample, RFC 3339; absent without samples or without times in the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// End time of the last sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Seconds between `startedAt` and `endedAt`.
    pub duration: f64,
    /// Figures of all samples.
    pub total: Figures,
    /// Figures by label, sorted by name.
    pub labels: Vec<NamedFigures>,
    /// Figures by worker, if the files identify workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<NamedFigures>,
    /// Kinds of errors, most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorKind>,
    /// Distribution of all response times, for a curve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distribution: Vec<PercentilePoint>,
    /// Figures over time.
    pub series: Series,
    /// Resource usage of the containers of the run; absent if nothing was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerFigures>,
    /// Notes on the figures: omissions, approximations, figures that the tool does not report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The verdict with its reasons; absent until the run is evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// Comparison with another run, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// A result file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportSource {
    /// The container and the path in its `/atq/results`, for example `master.1/results.jtl`.
    pub path: String,
    /// Format, for example `jtl-csv`, `locust`, `k6`, `gatling` or `csv`; empty if unknown.
    pub format: String,
    /// Number of samples in the file.
    pub samples: u64,
    /// Reason why the samples are not counted: they are in another file as well, or the file is a summary beside
    /// individual samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
    /// Reason why the file could not be read, or not completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Figures of a set of samples. Times are in milliseconds; all figures are zero without samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Number of samples.
    pub samples: u64,
    /// Number of failed samples.
    pub errors: u64,
    /// Failed samples in percent.
    pub error_percent: f64,
    /// Samples per second, between the start of the first and the end of the last sample.
    pub throughput: f64,
    /// Shortest response time.
    pub min: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median response time.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Longest response time.
    pub max: f64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Names of figures above that the tool does not report; their value is zero and has no meaning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["p99"]))]
    pub missing: Vec<String>,
}

/// Figures of a part of the samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedFigures {
    /// Name of the label or of the worker.
    pub name: String,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Samples with the same error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorKind {
    /// Response code, or the tool's name of the error.
    pub code: String,
    /// Error message; may be empty.
    pub message: String,
    /// Number of samples.
    pub count: u64,
}

/// A point of the distribution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PercentilePoint {
    /// Percentile, from 0 to 100.
    pub percentile: f64,
    /// Response time in milliseconds at this percentile.
    pub millis: f64,
}

/// Figures over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// Length of an interval in seconds.
    pub interval: f64,
    /// The points in order; a point without samples has zeros.
    pub points: Vec<SeriesPoint>,
    /// Names of figures that the files do not contain; their value is zero and has no meaning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The samples that ended within one interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeriesPoint {
    /// Start of the interval, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Number of samples.
    pub samples: u64,
    /// Number of failed samples.
    pub errors: u64,
    /// Arithmetic mean in milliseconds.
    pub mean: f64,
    /// Median in milliseconds.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Longest response time.
    pub max: f64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Active threads or users of all workers, if the tool reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<f64>,
}

/// Resource usage of a container, measured every two seconds during the test. Figures that are not known are absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerFigures {
    /// Role and number.
    #[schema(example = "worker.3")]
    pub name: String,
    /// Beginning of the id of the container.
    pub id: String,
    /// Id of its node.
    pub node: String,
    /// Mean number of CPUs in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_mean: Option<f64>,
    /// Largest number of CPUs in use, on average over a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_max: Option<f64>,
    /// Number of CPUs that the container may use: its limit, at most the CPUs of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<f64>,
    /// Most used memory in bytes, without page cache that can be dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// Memory limit in bytes; the memory of the node if the container has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// Bytes received from the network since the start of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
    /// Bytes sent to the network since the start of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// Bytes read from block devices since the start of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices since the start of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// CPU usage and memory over time.
    pub series: ContainerSeries,
}

/// Resource usage of a container over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSeries {
    /// Length of an interval in seconds, the same for all containers of a report.
    pub interval: f64,
    /// The points in order; intervals without samples are left out.
    pub points: Vec<ContainerPoint>,
}

/// Resource usage of a container within one interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPoint {
    /// Start of the interval, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Mean number of CPUs in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Most used memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// Verdict on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The run is valid and every criterion holds.
    Pass,
    /// The run is valid and a criterion does not hold.
    Fail,
    /// The run is inconclusive, for example because a worker was lost.
    Invalid,
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Reasons why the run is invalid, or failed apart from its criteria.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Result of every criterion, in the order of the definition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<CriterionResult>,
}

/// Result of a criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CriterionResult {
    /// The criterion, as defined.
    #[schema(example = "p95 of Login < 500ms")]
    pub criterion: String,
    /// Whether it holds.
    pub holds: bool,
    /// Observed value.
    #[schema(example = "612 ms")]
    pub seen: String,
    /// Required value.
    #[schema(example = "< 500 ms")]
    pub wanted: String,
    /// Reason why the criterion was not evaluated; absent if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_evaluated: Option<NotEvaluated>,
}

/// Reason why a criterion was not evaluated: there was no figure to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum NotEvaluated {
    /// The run has no samples.
    NoSamples,
    /// No sample has the label of the criterion.
    NoSuchLabel,
    /// The test tool does not report the figure.
    NotReported,
}

/// Comparison with another run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Id of the other task.
    pub baseline: String,
    /// Figures of all samples.
    pub total: FiguresPair,
    /// Figures by label; a label that a run lacks has no figures there.
    pub labels: Vec<NamedPair>,
    /// Reasons why the two runs are not directly comparable: a run is invalid, or durations or numbers of workers
    /// differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// The same figures in two runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FiguresPair {
    /// Figures of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Figures>,
    /// Figures of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Figures>,
    /// Change of each figure in percent of the baseline, by name; omitted if the baseline is zero.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub change_percent: std::collections::BTreeMap<String, f64>,
}

/// Figures of a label in two runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedPair {
    /// The label.
    pub name: String,
    /// The figures.
    #[serde(flatten)]
    pub pair: FiguresPair,
}
