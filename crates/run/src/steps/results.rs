//! The files that the containers left in `/atq/results`, fetched before anything is removed. What cannot be had is
//! named, and never holds up the end.

use crate::intake::{Intake, RunIntake, unread};
use crate::run::Run;
use crate::steering::Steering;
use atq_engine::{Course, Member, Role, Source};
use atq_evidence::results::KeptResults;
use atq_task::event::ResultsSeen;
use atq_task::state::Step;
use std::sync::Arc;

/// What came of a look.
#[derive(Debug, Default)]
pub struct Fetched {
    /// What is kept of the run by now.
    pub results: Vec<ResultsSeen>,
    /// What is not, in words.
    pub missing: Vec<String>,
}

/// Fetches the results of those `containers` that have ended and whose results are not kept yet; in
/// the step `report` of all, since nothing comes after it.
pub async fn fetch(run: &Run, containers: &[Member]) -> Fetched {
    let kept = kept(run).await;
    let (lost, wanted): (Vec<Member>, Vec<Member>) = containers
        .iter()
        .filter(|one| keeps_results(one.source.role) && !is_kept(&kept, one.source))
        .filter(|one| one.lost || one.has_ended() || run.state.step > Step::Collect)
        .cloned()
        .partition(|one| one.lost);
    let lost = lost.iter();
    let mut missing: Vec<String> = lost
        .map(|one| unread(one.source, "its node was lost"))
        .collect();
    if !wanted.is_empty() && !run.desired().is_deleted() {
        let sources = wanted.iter().map(|one| one.source).collect();
        let intake = Intake::new(run.shared.settings.results, &kept, sources);
        missing.extend(look(run, wanted, intake).await);
    }
    let evidence = &run.shared.evidence;
    evidence
        .forget_incoming(&run.spec.name, &run.state.run)
        .await;
    Fetched {
        results: self::kept(run).await.into_iter().filter_map(seen).collect(),
        missing,
    }
}

/// Whether containers of the role leave results that are kept.
fn keeps_results(role: Role) -> bool {
    matches!(role, Role::Worker | Role::Master)
}

/// A look that ends when the task is to be deleted: it is cut off. Gives what is missing.
async fn look(run: &Run, wanted: Vec<Member>, intake: Intake) -> Vec<String> {
    let mut wishes = run.wishes.clone();
    let taker = Arc::new(RunIntake::new(run, intake));
    let sources: Vec<Source> = wanted.iter().map(|one| one.source).collect();
    let engine = &run.shared.engine;
    let handed_over = engine.results(run.facts(), wanted, Arc::clone(&taker) as _);
    let fetched = tokio::select! {
        fetched = handed_over => Some(fetched),
        Ok(_) = wishes.wait_for(Steering::is_deleted) => None,
    };
    taker.close();
    let fetched = match fetched {
        None => return Vec::new(),
        Some(Ok(fetched)) => fetched,
        Some(Err(error)) => {
            let each = sources.into_iter();
            return each.map(|one| unread(one, &error.to_string())).collect();
        }
    };
    let kept = kept(run).await;
    let known = |source: Source| {
        let stored = kept.iter().find(|kept| kept.source == source).cloned();
        stored.or_else(|| taker.kept(source))
    };
    let missing = |source: Source| match known(source) {
        Some(kept) => what_is_missing(&kept),
        None => Some(
            match (taker.problem(source), fetched.problems.get(&source)) {
                (Some(problem), _) => problem,
                (None, problem) => {
                    unread(source, problem.map_or("no results arrived", String::as_str))
                }
            },
        ),
    };
    let missing = sources.into_iter().filter_map(missing).collect();
    run.note_clocks(fetched.clocks).await;
    missing
}

/// What is kept of the run by now.
pub async fn kept(run: &Run) -> Vec<KeptResults> {
    let kept = run.shared.evidence.results(&run.spec.name, &run.state.run);
    kept.await.unwrap_or_else(|error| {
        tracing::warn!(task = %run.spec.name, %error, "cannot read which results are kept");
        Vec::new()
    })
}

fn is_kept(kept: &[KeptResults], source: Source) -> bool {
    kept.iter()
        .any(|kept| kept.source == source && kept.problem.is_none())
}

fn seen(kept: KeptResults) -> Option<ResultsSeen> {
    (kept.files > 0).then(|| ResultsSeen {
        source: kept.source.to_string(),
        files: kept.files,
        bytes: kept.bytes,
    })
}

/// What is said of results that were kept, but not all of them.
pub fn what_is_missing(kept: &KeptResults) -> Option<String> {
    let source = kept.source;
    match (&kept.problem, kept.left_out) {
        (Some(problem), _) => Some(format!("the results of {source} are incomplete: {problem}")),
        (None, 0) => None,
        (None, 1) => Some(format!(
            "one entry in the results of {source} is neither file nor directory, and is not kept"
        )),
        (None, many) => Some(format!(
            "{many} entries in the results of {source} are neither files nor directories, and are not kept"
        )),
    }
}
