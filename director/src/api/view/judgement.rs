//! A judgement in the words of the wire.

use crate::task::verdict::{Judgement, Verdict};
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
            });
        Self {
            verdict: judgement.verdict.into(),
            reasons: judgement.reasons.clone(),
            criteria: criteria.collect(),
        }
    }
}
