//! A judgement in the words of the wire.

use crate::task::verdict::{Judgement, NotEvaluated, Verdict};
use atq_api_spec::report as wire;

impl From<Verdict> for wire::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Fail,
            Verdict::Invalid => Self::Invalid,
        }
    }
}

impl From<NotEvaluated> for wire::NotEvaluated {
    fn from(reason: NotEvaluated) -> Self {
        match reason {
            NotEvaluated::NoSamples => Self::NoSamples,
            NotEvaluated::NoSuchLabel => Self::NoSuchLabel,
            NotEvaluated::NotReported => Self::NotReported,
        }
    }
}

impl From<&Judgement> for wire::Judgement {
    fn from(judgement: &Judgement) -> Self {
        let criteria = judgement
            .criteria
            .iter()
            .map(|result| wire::CriterionResult {
                criterion: result.criterion.clone(),
                holds: result.holds,
                seen: result.seen.clone(),
                wanted: result.wanted.clone(),
                not_evaluated: result.not_evaluated.map(Into::into),
            });
        Self {
            verdict: judgement.verdict.into(),
            reasons: judgement.reasons.clone(),
            criteria: criteria.collect(),
        }
    }
}
