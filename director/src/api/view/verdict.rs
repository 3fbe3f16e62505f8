//! Converts verdicts.

use atq_api_spec::report as wire;
use atq_task::verdict::{CriterionResult, Judgement, NotEvaluated, Verdict};

/// Converts a verdict.
pub fn verdict(verdict: Verdict) -> wire::Verdict {
    match verdict {
        Verdict::Pass => wire::Verdict::Pass,
        Verdict::Fail => wire::Verdict::Fail,
        Verdict::Invalid => wire::Verdict::Invalid,
    }
}

/// Converts a verdict with its reasons.
pub fn judgement(judgement: &Judgement) -> wire::Judgement {
    wire::Judgement {
        verdict: verdict(judgement.verdict),
        reasons: judgement.reasons.clone(),
        criteria: criteria(&judgement.criteria),
    }
}

/// Converts the results of criteria.
pub fn criteria(results: &[CriterionResult]) -> Vec<wire::CriterionResult> {
    results.iter().map(criterion).collect()
}

fn criterion(result: &CriterionResult) -> wire::CriterionResult {
    wire::CriterionResult {
        criterion: result.criterion.clone(),
        holds: result.holds,
        seen: result.seen.clone(),
        wanted: result.wanted.clone(),
        not_evaluated: result.not_evaluated.map(not_evaluated),
    }
}

fn not_evaluated(reason: NotEvaluated) -> wire::NotEvaluated {
    match reason {
        NotEvaluated::NoSamples => wire::NotEvaluated::NoSamples,
        NotEvaluated::NoSuchLabel => wire::NotEvaluated::NoSuchLabel,
        NotEvaluated::NotReported => wire::NotEvaluated::NotReported,
    }
}
