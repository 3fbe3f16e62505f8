//! Fetches the files that containers left in `/atq/results`, before anything is removed. Results that cannot be fetched
//! are listed and never block the end of the run.

use crate::control::RunControl;
use crate::ingest::{ResultsIngest, Uncollected, unread};
use crate::run::Run;
use atq_engine::{Member, RunContext, Source};
use atq_evidence::results::{Budget, KeptResults};
use atq_task::event::ResultsSummary;
use atq_task::state::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The outcome of a collection.
#[derive(Debug, Default)]
pub struct Fetched {
    /// All stored results of the run.
    pub results: Vec<ResultsSummary>,
    /// Messages about missing results.
    pub missing: Vec<String>,
}

/// Why results are missing, or a part of them.
enum Problem {
    /// They could not be read, for this reason.
    Unread(String),
    /// They are not, or not completely, stored; as a sentence.
    Other(String),
}

impl Problem {
    /// The message about the results of `source`.
    fn text(self, source: Source) -> String {
        match self {
            Self::Unread(reason) => unread(source, &reason),
            Self::Other(sentence) => sentence,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Unread(reason) | Self::Other(reason) => reason,
        }
    }
}

type Problems = BTreeMap<Source, Problem>;

/// Fetches those results of `containers` that are not stored yet. Containers that still run are skipped, except in the
/// step `report`, which is the last opportunity. Results that cannot be fetched are taken from the bytes that were received
/// while the test ran.
pub async fn fetch(run: &Run, containers: &[Member]) -> Fetched {
    let stored = stored(run).await;
    let (lost, wanted): (Vec<Member>, Vec<Member>) = containers
        .iter()
        .filter(|one| one.source.role.keeps_results() && !is_complete(&stored, one.source))
        .filter(|one| one.lost || one.has_ended() || run.state.step > Step::Collect)
        .cloned()
        .partition(|one| one.lost);
    let lost = lost.iter().map(|one| one.source);
    let mut problems: Problems = lost
        .map(|source| (source, Problem::Unread("its node was lost".to_owned())))
        .collect();
    if !run.desired().is_deleted() {
        if !wanted.is_empty() {
            problems.extend(collect(run, wanted, &stored).await);
        }
        problems.extend(unlisted(run, containers).await);
        keep_received(run, &mut problems).await;
    }
    let (name, suffix) = (&run.spec.name, &run.state.run);
    run.shared.evidence.remove_incoming(name, suffix).await;
    let stored = self::stored(run).await.into_iter();
    Fetched {
        results: stored.filter_map(summary).collect(),
        missing: problems
            .into_iter()
            .map(|(source, problem)| problem.text(source))
            .collect(),
    }
}

/// Containers of which bytes were received, and which the engine does not list any more.
async fn unlisted(run: &Run, containers: &[Member]) -> Problems {
    let stored = stored(run).await;
    let is_unlisted = |source: &Source| {
        let mut listed = containers.iter();
        !is_complete(&stored, *source) && !listed.any(|one| one.source == *source)
    };
    let reason = format!("{} no longer lists its container", run.shared.engine.name());
    let sources = received_sources(run).await.into_iter().filter(is_unlisted);
    sources
        .map(|source| (source, Problem::Unread(reason.clone())))
        .collect()
}

/// The containers of which bytes were received while the test ran.
async fn received_sources(run: &Run) -> BTreeSet<Source> {
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let sources = run.shared.evidence.live_sources(name, suffix).await;
    sources.unwrap_or_else(|error| {
        tracing::warn!(task = %name, %error, "cannot read what was received while the test ran");
        BTreeSet::new()
    })
}

/// Stores what was received while the test ran of containers whose results are missing, and updates their problems.
async fn keep_received(run: &Run, problems: &mut Problems) {
    let received = received_sources(run).await;
    let (name, suffix) = (&run.spec.name, &run.state.run);
    let evidence = &run.shared.evidence;
    for (source, problem) in problems
        .iter_mut()
        .filter(|(source, _)| received.contains(source))
    {
        let stored = stored(run).await;
        if is_complete(&stored, *source) {
            continue;
        }
        let others: Vec<KeptResults> = stored
            .into_iter()
            .filter(|kept| kept.source != *source)
            .collect();
        let budget = Arc::new(Budget::new(run.shared.settings.results, &others));
        let _closed = match run.live.results() {
            Some(results) => Some(results.close(*source).await),
            None => None,
        };
        let kept = evidence.keep_live_results(name, suffix, *source, problem.reason(), budget);
        match kept.await {
            Ok(kept) => {
                if let Some(text) = kept
                    .filter(|kept| kept.partial)
                    .and_then(|kept| missing_part(&kept))
                {
                    *problem = Problem::Other(text);
                }
            }
            Err(error) => {
                tracing::warn!(task = %name, %source, %error, "cannot keep what was received while the test ran");
            }
        }
    }
}

/// Collects results until they are complete, the deadline passes, or the task is to be deleted. Returns the problems.
async fn collect(run: &Run, wanted: Vec<Member>, stored: &[KeptResults]) -> Problems {
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
        None => return Problems::new(),
        Some(Ok(fetched)) => fetched,
        Some(Err(error)) => {
            let each = sources.into_iter();
            return each
                .map(|one| (one, Problem::Unread(error.to_string())))
                .collect();
        }
    };
    let stored = self::stored(run).await;
    let results_of = |source: Source| {
        let known = stored.iter().find(|kept| kept.source == source).cloned();
        known.or_else(|| receiver.kept(source))
    };
    let problem = |source: Source| match results_of(source) {
        Some(kept) => missing_part(&kept).map(Problem::Other),
        None => Some(match receiver.problem(source) {
            Some(Uncollected::Unread(reason)) => Problem::Unread(reason),
            Some(Uncollected::Unkept(sentence)) => Problem::Other(sentence),
            None => {
                let problem = fetched.problems.get(&source).cloned();
                Problem::Unread(problem.unwrap_or_else(|| "no results arrived".to_owned()))
            }
        }),
    };
    let problems = sources
        .into_iter()
        .filter_map(|source| Some((source, problem(source)?)));
    let problems = problems.collect();
    run.record_clock_offsets(fetched.clocks).await;
    problems
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
pub fn missing_part(kept: &KeptResults) -> Option<String> {
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
