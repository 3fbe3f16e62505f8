//! What a run says of what it tested. `status` says how the run ended; a verdict says whether that can
//! be trusted, and whether the criteria of the task hold.

use serde::{Deserialize, Serialize};

/// What can be said of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why the run is invalid, or failed beside its criteria.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Every criterion of the task, in its order.
    #[serde(default)]
    pub criteria: Vec<CriterionResult>,
}

/// How a criterion came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CriterionResult {
    /// The criterion, as defined.
    pub criterion: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was seen, with its unit.
    pub seen: String,
    /// What was wanted, with its unit.
    pub wanted: String,
    /// Why it was not evaluated; `None` when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_evaluated: Option<NotEvaluated>,
}

/// Why a criterion was not evaluated: there was no figure to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NotEvaluated {
    /// The run has no samples.
    NoSamples,
    /// No sample has the label of the criterion.
    NoSuchLabel,
    /// The test tool does not report the figure.
    NotReported,
}
