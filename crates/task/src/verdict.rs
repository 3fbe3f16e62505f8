//! The verdict on a run. `status` is the way in which the run ended; the verdict states whether its figures can be
//! trusted and whether the criteria of the task hold. [`crate::rules`] has the rules.

use serde::{Deserialize, Serialize};

/// The verdict on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The run is valid and every criterion holds.
    Pass,
    /// The run is valid, and a criterion does not hold or the master failed.
    Fail,
    /// The run allows no conclusion about the system under test.
    Invalid,
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Reasons for an invalid run, and for a failed run other than its criteria.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// The result of every criterion, in the order of the definition.
    #[serde(default)]
    pub criteria: Vec<CriterionResult>,
}

/// The result of a criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CriterionResult {
    /// The criterion, as defined.
    pub criterion: String,
    /// Whether it holds.
    pub holds: bool,
    /// The measured value, with its unit.
    pub seen: String,
    /// The required value, with its unit.
    pub wanted: String,
    /// The reason if it was not evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_evaluated: Option<NotEvaluated>,
}

/// The reason why there was no figure to compare with a criterion.
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
