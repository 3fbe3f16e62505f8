//! What a run's result files say: figures, charts' data, a comparison, and the judgement on them.

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
    /// The files that were read.
    pub sources: Vec<ReportSource>,
    /// Time of the first sample's start, RFC 3339; absent without samples or without times in the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Time of the last sample's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Seconds from the one to the other.
    pub duration: f64,
    /// All samples together.
    pub total: Figures,
    /// By label, in the order of the labels' names.
    pub labels: Vec<NamedFigures>,
    /// By worker, as far as the files tell them apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<NamedFigures>,
    /// Kinds of errors, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorKind>,
    /// The distribution of all response times, for a curve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distribution: Vec<PercentilePoint>,
    /// The figures over time.
    pub series: Series,
    /// What a reader of the figures must know: what was left out, approximated, not told by the tool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What the figures mean for the task; absent until the run is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// The difference from another run, when one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// A result file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportSource {
    /// The container and the path in its `/atq/results`, for example `master.1/results.jtl`.
    pub path: String,
    /// Its format, for example `jtl-csv`, `locust`, `k6`, `gatling` or `csv`; empty when it is none of the known ones.
    pub format: String,
    /// Samples in it.
    pub samples: u64,
    /// Why they are not counted: they are in another file as well, or it is a summary beside single samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
    /// Why it could not be read, or not to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Figures of a set of samples. Times are milliseconds; zeros when there is no sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Number of samples.
    pub samples: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that failed, in percent.
    pub error_percent: f64,
    /// Samples per second, from the start of the first to the end of the last.
    pub throughput: f64,
    /// Shortest response time.
    pub min: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Half of the samples took no longer.
    pub p50: f64,
    /// 90 % took no longer.
    pub p90: f64,
    /// 95 % took no longer.
    pub p95: f64,
    /// 99 % took no longer.
    pub p99: f64,
    /// Longest response time.
    pub max: f64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Names of the figures above that the tool does not tell; they are zero here and mean nothing.
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
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Samples that failed in the same way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorKind {
    /// Response code, or the tool's own word for the error.
    pub code: String,
    /// The message that came with it; may be empty.
    pub message: String,
    /// How many samples.
    pub count: u64,
}

/// A point of the distribution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PercentilePoint {
    /// From 0 to 100.
    pub percentile: f64,
    /// Milliseconds that this part of the samples did not exceed.
    pub millis: f64,
}

/// Figures over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// Seconds of one point.
    pub interval: f64,
    /// The points in order; one without samples has zeros.
    pub points: Vec<SeriesPoint>,
    /// Names of the figures of points that the files do not tell; they are zero there and mean nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The samples that ended within one interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeriesPoint {
    /// Beginning of the interval: milliseconds since 1970, UTC.
    pub at: u64,
    /// Number of samples.
    pub samples: u64,
    /// Those that failed.
    pub errors: u64,
    /// Milliseconds on average.
    pub mean: f64,
    /// 50 % took no longer, in milliseconds.
    pub p50: f64,
    /// 90 % took no longer.
    pub p90: f64,
    /// 95 % took no longer.
    pub p95: f64,
    /// 99 % took no longer.
    pub p99: f64,
    /// Longest response time.
    pub max: f64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Active threads or users of all workers, if the tool tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<f64>,
}

/// What can be said of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The run is sound and every criterion holds.
    Pass,
    /// The run is sound and a criterion does not hold.
    Fail,
    /// The run says nothing about what it tested.
    Invalid,
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why the run is invalid, or failed beside its criteria; empty: no reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Every criterion of the task, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<CriterionResult>,
}

/// How a criterion came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CriterionResult {
    /// The criterion, as defined.
    #[schema(example = "p95 of Login < 500ms")]
    pub criterion: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was seen.
    #[schema(example = "612 ms")]
    pub seen: String,
    /// What was wanted.
    #[schema(example = "< 500 ms")]
    pub wanted: String,
    /// Why the criterion was not evaluated; absent when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_evaluated: Option<NotEvaluated>,
}

/// Why a criterion was not evaluated: there was no figure to compare.
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

/// The difference from another run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Id of the other task.
    pub baseline: String,
    /// All samples together.
    pub total: FiguresPair,
    /// By label; one that a run does not have has no figures there.
    pub labels: Vec<NamedPair>,
    /// Why the figures of the two runs cannot simply be compared: a run is invalid, they took different times, or had
    /// different numbers of workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// Figures of the same thing in two runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FiguresPair {
    /// In the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Figures>,
    /// In this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Figures>,
    /// Change of each figure in percent of the baseline, by the figure's name; one that was zero in the
    /// baseline is missing.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub change_percent: std::collections::BTreeMap<String, f64>,
}

/// Figures of a label in two runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedPair {
    /// The label.
    pub name: String,
    /// Its figures.
    #[serde(flatten)]
    pub pair: FiguresPair,
}
