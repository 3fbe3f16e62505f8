//! The verdict on a run, from what is known about it.
//!
//! A run that says nothing about what it tested is invalid, whatever its figures are: figures of a run
//! that lost a worker, whose clocks disagree or whose generators were at their limit describe the test,
//! not the system under test. Only a sound run passes or fails.

use super::criteria::Criterion;
use super::event::FailureCode;
use super::spec::{TaskSpec, nearest, shorten};
use super::state::{Outcome, State, Step};
use super::timestamp::Timestamp;
use super::verdict::{CriterionResult, Judgement, NotEvaluated, Verdict};
use std::time::Duration;

/// How far a node's clock may be off, in milliseconds.
pub const CLOCK_TOLERANCE: u64 = 1000;
/// How far outside of the run samples may be dated: clocks and what is seen of a start are never exact.
pub const DATE_TOLERANCE: Duration = Duration::from_secs(2);
/// Lost workers, and clocks, that are told one by one.
const MAX_TOLD: usize = 10;

/// What the result files say, as far as it matters for the verdict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Files with samples.
    pub files: usize,
    /// Whether the master's were read, and not the workers'.
    pub of_master: bool,
    /// Samples in them.
    pub samples: u64,
    /// Start of the first sample and end of the last, if the files tell.
    pub dates: Option<(Timestamp, Timestamp)>,
    /// The figure of each criterion, in their order.
    pub readings: Vec<Reading>,
    /// Why these are not all samples, in sentences: files that were cut, or could not be read.
    pub gaps: Vec<String>,
    /// Why the figures cannot be trusted whatever is asked of them, in sentences.
    pub doubts: Vec<String>,
}

/// What the result files say about a criterion.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Its figure, in its base unit; of several windows that of the worst.
    Value {
        /// The figure.
        value: f64,
        /// Beginning of the window.
        at: Option<Timestamp>,
    },
    /// No sample has its label; those are the labels that there are.
    NoLabel(Vec<String>),
    /// The tool does not tell this figure.
    Untold,
    /// There is no sample.
    Nothing,
}

/// What was seen of the machines that made the load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machines {
    /// Node or container, and by how many milliseconds its clock is ahead of the Director's.
    pub clocks: Vec<(String, i64)>,
    /// Generators that were at their limit, in sentences.
    pub saturated: Vec<String>,
}

/// Everything that a run is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the user demanded.
    pub spec: &'a TaskSpec,
    /// How the run went.
    pub state: &'a State,
    /// What it measured.
    pub measured: &'a Measured,
    /// What made the load.
    pub machines: &'a Machines,
    /// When this is judged.
    pub now: Timestamp,
}

/// Judges a run. All reasons are told, not only the first.
pub fn judge(facts: &Facts<'_>) -> Judgement {
    let criteria = results(&facts.spec.criteria, &facts.measured.readings);
    let doubts = doubts(facts);
    let failures = failures(facts.state);
    let holds = criteria.iter().all(|result| result.holds);
    let verdict = match (doubts.is_empty(), failures.is_empty() && holds) {
        (false, _) => Verdict::Invalid,
        (true, false) => Verdict::Fail,
        (true, true) => Verdict::Pass,
    };
    Judgement {
        verdict,
        reasons: doubts.into_iter().chain(failures).collect(),
        criteria,
    }
}

fn results(criteria: &[Criterion], readings: &[Reading]) -> Vec<CriterionResult> {
    let readings = readings.iter().chain(std::iter::repeat(&Reading::Nothing));
    criteria
        .iter()
        .zip(readings)
        .map(|(criterion, reading)| CriterionResult {
            criterion: criterion.to_string(),
            holds: matches!(reading, Reading::Value { value, .. } if criterion.holds(*value)),
            seen: seen(criterion, reading),
            wanted: criterion.wanted(),
            not_evaluated: not_evaluated(reading),
        })
        .collect()
}

fn seen(criterion: &Criterion, reading: &Reading) -> String {
    match reading {
        Reading::Value { value, at: None } => criterion.seen(*value),
        Reading::Value {
            value,
            at: Some(at),
        } => format!("{} from {at}", criterion.seen(*value)),
        Reading::NoLabel(_) => "no sample with this label".to_owned(),
        Reading::Untold => "not told by the result files".to_owned(),
        Reading::Nothing => "no sample".to_owned(),
    }
}

fn not_evaluated(reading: &Reading) -> Option<NotEvaluated> {
    match reading {
        Reading::Value { .. } => None,
        Reading::NoLabel(_) => Some(NotEvaluated::NoSuchLabel),
        Reading::Untold => Some(NotEvaluated::NotReported),
        Reading::Nothing => Some(NotEvaluated::NoSamples),
    }
}

/// Why the run says nothing.
fn doubts(facts: &Facts<'_>) -> Vec<String> {
    let mut doubts = ending(facts.state);
    doubts.extend(lost(facts.state));
    doubts.extend(samples(facts));
    doubts.extend(facts.machines.saturated.iter().cloned());
    doubts.extend(clocks(facts.machines));
    doubts.extend(dates(facts));
    doubts.extend(unanswered(&facts.spec.criteria, &facts.measured.readings));
    doubts
}

fn ending(state: &State) -> Vec<String> {
    let lasted = match (state.started_at, state.finished_at) {
        (Some(start), Some(end)) => format!("after {:.1} s", end.since(start).as_secs_f64()),
        _ => "before the test began".to_owned(),
    };
    let failed = state.failure.as_ref();
    let doubt = match (state.outcome, failed) {
        (Some(Outcome::Finished), _) => None,
        (Some(Outcome::Stopped), _) => Some(format!("the run was stopped {lasted}")),
        (Some(Outcome::Errored), Some(failure)) => match failure.code {
            // The tool's own word, unless it never got to say one.
            FailureCode::MasterExit => killed(state.exit_code),
            FailureCode::MaxDuration => {
                Some(format!("the run was ended {lasted} by `maxDuration`"))
            }
            // Told worker by worker.
            FailureCode::WorkerLost if !state.lost.is_empty() => None,
            _ => Some(format!(
                "the run failed in the step `{}`: {}",
                failure.step.as_str(),
                failure.message
            )),
        },
        (Some(Outcome::Errored), None) => Some("the run failed for an unknown reason".to_owned()),
        (None, _) => Some("the run is not over".to_owned()),
    };
    doubt.into_iter().collect()
}

/// What Docker and the shell say about a master that could not work to its end.
fn killed(code: Option<i64>) -> Option<String> {
    let code = code?;
    let by_others = (125..=127).contains(&code) || (129..=159).contains(&code);
    let meaning = super::exit_code::meaning(code).map(|meaning| format!(" ({meaning})"));
    by_others.then(|| {
        format!(
            "the master ended with exit code {code}{}, which is not a result of its own",
            meaning.unwrap_or_default()
        )
    })
}

fn lost(state: &State) -> Vec<String> {
    let told = state.lost.iter().map(|lost| {
        format!(
            "worker {} was lost while the test ran: {}",
            lost.replica,
            shorten(&lost.reason)
        )
    });
    in_short(told.collect(), "workers were lost")
}

/// The first few, and how many more there are.
fn in_short(mut all: Vec<String>, what: &str) -> Vec<String> {
    let more = all.len().saturating_sub(MAX_TOLD);
    all.truncate(MAX_TOLD);
    all.extend((more > 0).then(|| format!("{more} more {what}")));
    all
}

fn samples(facts: &Facts<'_>) -> Vec<String> {
    let (spec, measured) = (facts.spec, facts.measured);
    let mut doubts = Vec::new();
    let demanded = !spec.criteria.is_empty() || !spec.result_files.is_empty();
    if measured.samples == 0 && (demanded || spec.min_samples.is_some() || measured.files > 0) {
        doubts.push(nothing(spec, measured));
    }
    match spec.min_samples {
        Some(least) if measured.samples < least => doubts.push(format!(
            "there are {} samples; `minSamples` demands {least}",
            measured.samples
        )),
        _ => {}
    }
    doubts.extend(measured.doubts.iter().cloned());
    if !spec.criteria.is_empty() || spec.min_samples.is_some() {
        doubts.extend(measured.gaps.iter().cloned());
    }
    doubts
}

fn nothing(spec: &TaskSpec, measured: &Measured) -> String {
    match (measured.files, spec.result_files.is_empty()) {
        (0, true) => {
            "there is no sample: no result file was found in `/atq/results` of the master or a worker"
                .to_owned()
        }
        (0, false) => {
            "there is no sample: no result file in `/atq/results` fits `resultFiles`".to_owned()
        }
        (1, _) => "there is no sample in the result file".to_owned(),
        (files, _) => format!("there is no sample in the {files} result files"),
    }
}

fn clocks(machines: &Machines) -> Vec<String> {
    let off = machines
        .clocks
        .iter()
        .filter(|(_, ahead)| ahead.unsigned_abs() > CLOCK_TOLERANCE);
    let told = off.map(|(name, ahead)| {
        let seconds = ahead.unsigned_abs() as f64 / 1000.0;
        let way = if *ahead > 0 { "ahead of" } else { "behind" };
        format!(
            "the clock of `{name}` is {seconds:.1} s {way} the Director's; at most {:.1} s are fine",
            CLOCK_TOLERANCE as f64 / 1000.0
        )
    });
    in_short(told.collect(), "clocks are off")
}

/// Samples of a time at which the test did not run tell of a clock that is off, or are of another run.
fn dates(facts: &Facts<'_>) -> Vec<String> {
    let (state, Some((first, last))) = (facts.state, facts.measured.dates) else {
        return Vec::new();
    };
    if state.started_at.is_none() {
        return Vec::new();
    }
    // Workers may work on before the master and, until they are told to end, behind it.
    let (begun, ended) = match facts.measured.of_master {
        true => (entered(state, Step::Master), state.finished_at),
        false => (entered(state, Step::Workers), None),
    };
    // A master that is told to end may work on for its grace period.
    let grace = match state.outcome {
        Some(Outcome::Finished) | None => Duration::ZERO,
        Some(_) => facts.spec.master.stop_grace(),
    };
    let ended = ended.map_or(facts.now, |ended| ended.plus(grace));
    let early = begun.since(first);
    let late = last.since(ended);
    let told = |sample: &str, off: Duration, edge: &str| {
        let off = off.as_secs_f64();
        format!("the {sample} sample is dated {off:.1} s {edge} by the Director's clock")
    };
    let early =
        (early > DATE_TOLERANCE).then(|| told("first", early, "before the beginning of the run"));
    let late = (late > DATE_TOLERANCE).then(|| told("last", late, "after the end of the run"));
    early.into_iter().chain(late).collect()
}

/// When a step that is over began: the steps before it took all the time until then.
fn entered(state: &State, step: Step) -> Timestamp {
    let before: u64 = state.timings.range(..step).map(|(_, millis)| millis).sum();
    state.created_at.plus(Duration::from_millis(before))
}

/// Criteria that no figure answers.
fn unanswered(criteria: &[Criterion], readings: &[Reading]) -> Vec<String> {
    let pairs = criteria.iter().zip(readings);
    let told = pairs.filter_map(|(criterion, reading)| match reading {
        Reading::NoLabel(labels) => {
            let label = criterion.label.as_deref().unwrap_or_default();
            let labels: Vec<String> = labels.iter().map(|label| shorten(label)).collect();
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let hint = match labels.len() {
                0 => String::new(),
                1..=MAX_TOLD => format!("; {}", nearest(label, &labels)),
                _ => among_many(label, &labels),
            };
            Some(format!(
                "no sample is named `{}`, which `{criterion}` asks for{hint}",
                shorten(label)
            ))
        }
        Reading::Untold => Some(format!(
            "the result files do not tell what `{criterion}` asks for"
        )),
        Reading::Value { .. } | Reading::Nothing => None,
    });
    told.collect()
}

/// The nearest of more labels than can be told.
fn among_many(label: &str, labels: &[&str]) -> String {
    match nearest(label, labels) {
        hint if hint.starts_with("did you mean") => format!("; {hint}"),
        _ => format!("; there are {} other labels", labels.len()),
    }
}

/// Why the run failed, beside its criteria.
fn failures(state: &State) -> Vec<String> {
    let code = match (state.outcome, &state.failure) {
        (Some(Outcome::Finished), _) => state.exit_code.unwrap_or(0),
        (Some(Outcome::Errored), Some(failure)) if failure.code == FailureCode::MasterExit => {
            state.exit_code.unwrap_or(1)
        }
        _ => 0,
    };
    let told = (code != 0 && killed(Some(code)).is_none())
        .then(|| format!("the master ended with exit code {code}"));
    told.into_iter().collect()
}

#[cfg(test)]
mod tests;
