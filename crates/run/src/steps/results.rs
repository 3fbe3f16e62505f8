//! Fetches the files that containers left in `/atq/results`, before anything is removed. Results that cannot be fetched
//! are listed and never block the end of the run.

use crate::control::RunControl;
use crate::ingest::{ResultsIngest, unread};
use crate::run::Run;
use atq_engine::{Member, RunContext, Source};
use atq_evidence::results::KeptResults;
use atq_task::event::ResultsSummary;
use atq_task::state::Step;
use std::sync::Arc;

/// The outcome of a collection.
#[derive(Debug, Default)]
pub struct Fetched {
    /// All stored results of the run.
    pub results: Vec<ResultsSummary>,
    /// Messages about missing results.
    pub missing: Vec<String>,
}

/// Fetches those results of `containers` that are not stored yet. Containers that still run are skipped, except in the
/// step `report`, which is the last opportunity.
pub async fn fetch(run: &Run, containers: &[Member]) -> Fetched {
    let stored = stored(run).await;
    let (lost, wanted): (Vec<Member>, Vec<Member>) = containers
        .iter()
        .filter(|one| one.source.role.keeps_results() && !is_complete(&stored, one.source))
        .filter(|one| one.lost || one.has_ended() || run.state.step > Step::Collect)
        .cloned()
        .partition(|one| one.lost);
    let unreadable = |one: &Member| unread(one.source, "its node was lost");
    let mut missing: Vec<String> = lost.iter().map(unreadable).collect();
    if !wanted.is_empty() && !run.desired().is_deleted() {
        missing.extend(collect(run, wanted, &stored).await);
    }
    let (name, suffix) = (&run.spec.name, &run.state.run);
    run.shared.evidence.remove_incoming(name, suffix).await;
    let stored = self::stored(run).await.into_iter();
    Fetched {
        results: stored.filter_map(summary).collect(),
        missing,
    }
}

/// Collects results until they are complete, the deadline passes, or the task is to be deleted. Returns messages about
/// missing results.
async fn collect(run: &Run, wanted: Vec<Member>, stored: &[KeptResults]) -> Vec<String> {
    let mut control = run.control.clone();
    let sources: Vec<Source> = wanted.iter().map(|one| one.source).collect();
    let receiver = Arc::new(ResultsIngest::new(run, stored, sources.clone()));
    let engine = &run.shared.engine;
    let results = engine.results(run.facts(), wanted, Arc::clone(&receiver) as _);
    let fetched = tokio::select! {
        fetched = results => Some(fetched),
        Ok(_) = control.wait_for(RunControl::is_deleted) => None,
    };
    receiver.close();
    let fetched = match fetched {
        None => return Vec::new(),
        Some(Ok(fetched)) => fetched,
        Some(Err(error)) => {
            let each = sources.into_iter();
            return each.map(|one| unread(one, &error.to_string())).collect();
        }
    };
    let stored = self::stored(run).await;
    let results_of = |source: Source| {
        let known = stored.iter().find(|kept| kept.source == source).cloned();
        known.or_else(|| receiver.kept(source))
    };
    let missing = |source: Source| match results_of(source) {
        Some(kept) => missing_part(&kept),
        None => receiver.problem(source).or_else(|| {
            let problem = fetched.problems.get(&source).map(String::as_str);
            Some(unread(source, problem.unwrap_or("no results arrived")))
        }),
    };
    let missing = sources.into_iter().filter_map(missing).collect();
    run.record_clock_offsets(fetched.clocks).await;
    missing
}

/// All stored results of the run.
async fn stored(run: &Run) -> Vec<KeptResults> {
    let results = run.shared.evidence.results(&run.spec.name, &run.state.run);
    results.await.unwrap_or_else(|error| {
        tracing::warn!(task = %run.spec.name, %error, "cannot read the stored results");
        Vec::new()
    })
}

fn is_complete(stored: &[KeptResults], source: Source) -> bool {
    stored
        .iter()
        .any(|kept| kept.source == source && kept.problem.is_none())
}

fn summary(kept: KeptResults) -> Option<ResultsSummary> {
    (kept.files > 0).then(|| ResultsSummary {
        source: kept.source.to_string(),
        files: kept.files,
        bytes: kept.bytes,
    })
}

/// A message about results that are stored incompletely.
fn missing_part(kept: &KeptResults) -> Option<String> {
    let source = kept.source;
    match (&kept.problem, kept.left_out) {
        (Some(problem), _) => Some(format!("the results of {source} are incomplete: {problem}")),
        (None, 0) => None,
        (None, 1) => Some(format!(
            "one entry in the results of {source} is neither a file nor a directory and is not kept"
        )),
        (None, many) => Some(format!(
            "{many} entries in the results of {source} are neither files nor directories and are not kept"
        )),
    }
}
