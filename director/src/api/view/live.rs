//! Converts the state of a running test, and the figures of its report.

use super::verdict;
use atq_api_spec::live::{
    LiveCondition, LiveContainer, LiveFigures, LiveGroup, LiveLoss, LiveSource, LiveTask,
    LiveWorkers, SourceState,
};
use atq_api_spec::report::{NamedFigures, Report};
use atq_engine::Source;
use atq_report::live::{MAX_LABELS, MAX_SOURCES, MAX_WORKERS};
use atq_run::View;
use atq_run::live::{ContainerUsage, Snapshot};
use atq_run::live_updates::LiveUpdate;
use atq_task::state::{State, Step};
use atq_task::timestamp::Timestamp;
use std::cmp::Reverse;

/// State of a running worker, as the engine reports it.
const RUNNING: &str = "running";

/// The figures of an ended run, or the reason why there are none.
pub struct Outcome {
    /// The figures of the report.
    pub figures: Option<LiveFigures>,
    /// The reason why there are none.
    pub problem: Option<String>,
}

/// Converts the state of a task. `outcome` is that of an ended run.
pub fn task(update: &LiveUpdate, outcome: Option<Outcome>) -> LiveTask {
    let view = &update.view;
    let (spec, state) = (&view.spec, &view.state);
    let is_final = outcome.is_some();
    let snapshot = update.snapshot.as_deref();
    let (figures, problem) = match outcome {
        Some(outcome) => (outcome.figures, outcome.problem),
        None => (
            snapshot.and_then(|snapshot| snapshot.figures.clone()),
            match snapshot {
                Some(snapshot) => snapshot.problem.clone(),
                None => Some(without_snapshot(state).to_owned()),
            },
        ),
    };
    LiveTask {
        task: spec.name.to_string(),
        run: (state.step != Step::Queued).then(|| state.run.clone()),
        status: super::status(view),
        step: super::step(state.step),
        queue_position: view.queue_position,
        elapsed_ms: elapsed(view),
        max_duration_ms: millis(update.max_duration),
        lag_ms: snapshot
            .filter(|_| state.outcome.is_none())
            .and_then(|snapshot| snapshot.lag),
        workers: workers(view),
        containers: update.usage.iter().map(container).collect(),
        criteria: match &state.judgement {
            Some(judgement) => verdict::judgement(judgement).criteria,
            None => verdict::criteria(snapshot.map_or(&[], |snapshot| &snapshot.criteria)),
        },
        stop_when: conditions(view, snapshot),
        figures,
        problem,
        verdict: state
            .judgement
            .as_ref()
            .filter(|_| spec.has_requirements())
            .map(|judgement| verdict::verdict(judgement.verdict)),
        failure: state
            .failure
            .as_ref()
            .map(|failed| super::failure(failed, &spec.name, &state.last_lines)),
        is_final,
    }
}

/// The reason why there is no snapshot.
fn without_snapshot(state: &State) -> &'static str {
    match (state.outcome, state.step) {
        (Some(_), _) => "the run has ended; its report is not complete yet",
        (None, Step::Running) => "the result files are not read yet",
        (None, _) => "the test has not begun",
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn elapsed(view: &View) -> Option<u64> {
    let end = view.state.finished_at.unwrap_or(view.now);
    Some(millis(end.since(view.state.started_at?)))
}

fn workers(view: &View) -> LiveWorkers {
    let running = view.workers.iter().filter(|worker| worker.state == RUNNING);
    let lost = view.state.lost.iter().map(|lost| LiveLoss {
        replica: lost.replica,
        reason: lost.reason.clone(),
    });
    LiveWorkers {
        wanted: view.spec.worker.replicas,
        running: match view.state.is_reported() {
            true => 0,
            false => u32::try_from(running.count()).unwrap_or(u32::MAX),
        },
        lost: lost.collect(),
    }
}

fn container((source, usage): &(Source, ContainerUsage)) -> LiveContainer {
    LiveContainer {
        name: source.to_string(),
        node: usage.node.clone(),
        cpu: usage.cpu,
        cpu_limit: usage.cpu_limit,
        memory: usage.memory,
        memory_limit: usage.memory_limit,
    }
}

fn conditions(view: &View, snapshot: Option<&Snapshot>) -> Vec<LiveCondition> {
    let met = view.state.stopped_when.as_ref();
    let conditions = view.spec.stop_when.iter().enumerate();
    let conditions = conditions.map(|(index, condition)| {
        let condition = condition.to_string();
        let met = met.filter(|met| met.condition == condition);
        let known = snapshot.and_then(|snapshot| snapshot.conditions.get(index));
        let seen = known.map(|known| known.seen.clone());
        LiveCondition {
            seen: match met {
                Some(met) => Some(met.seen.clone()),
                None => seen.clone().and_then(Result::ok),
            },
            unknown: seen.and_then(Result::err).filter(|_| met.is_none()),
            has_ended_run: met.is_some(),
            condition,
        }
    });
    conditions.collect()
}

/// The figures of a report; `None` without result files.
pub fn figures(report: Report) -> Option<LiveFigures> {
    if report.sources.is_empty() {
        return None;
    }
    let time = |text: &Option<String>| Some(Timestamp::parse(text.as_deref()?)?.0);
    let newest = time(&report.ended_at);
    let (mut labels, mut workers) = (report.labels, report.workers);
    let labels_left_out = labels.len().saturating_sub(MAX_LABELS);
    labels.sort_by_key(|label| Reverse(label.figures.samples));
    labels.truncate(MAX_LABELS);
    let workers_left_out = workers.len().saturating_sub(MAX_WORKERS);
    workers.truncate(MAX_WORKERS);
    let sources_left_out = report.sources.len().saturating_sub(MAX_SOURCES);
    let sources = report.sources.into_iter().take(MAX_SOURCES);
    Some(LiveFigures {
        at: newest.unwrap_or_default(),
        newest,
        total: report.total,
        labels: labels.into_iter().map(group).collect(),
        labels_left_out,
        workers: workers.into_iter().map(group).collect(),
        workers_left_out,
        series: report.series,
        sources: sources
            .map(|source| LiveSource {
                path: source.path,
                format: source.format,
                state: SourceState::Ended,
                samples: source.samples,
                newest: None,
                restarts: 0,
                ignored: source.ignored,
                problem: source.problem,
            })
            .collect(),
        sources_left_out,
        notes: report.notes,
        ..LiveFigures::default()
    })
}

fn group(named: NamedFigures) -> LiveGroup {
    LiveGroup {
        name: named.name,
        total: named.figures,
        ..LiveGroup::default()
    }
}
