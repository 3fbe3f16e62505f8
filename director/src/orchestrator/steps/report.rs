//! What a run says: the workers' last words, figures from the result files, and the verdict.

use super::wind_down;
use crate::orchestrator::run::Run;
use crate::task::event::Event;
use crate::task::state::{Outcome, State};
use crate::task::verdict::{Judgement, Verdict};

/// What still runs is told to end and heard out first, unless nobody wants to know. That it was heard
/// is recorded, so that a restart does not wait again.
pub async fn report(run: &mut Run) -> Event {
    if wind_down::is_due(run)
        && let Some(event) = wind_down::last_words(run).await
    {
        return event;
    }
    Event::Reported {
        judgement: judge(&run.state),
        samples: 0,
        problem: None,
    }
}

fn judge(state: &State) -> Judgement {
    let verdict = match state.outcome {
        Some(Outcome::Finished) if state.lost.is_empty() => Verdict::Pass,
        _ => Verdict::Invalid,
    };
    Judgement {
        verdict,
        reasons: Vec::new(),
        criteria: Vec::new(),
    }
}
