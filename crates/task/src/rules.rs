//! The rules that lead to the verdict on a run.
//!
//! A run is invalid, regardless of its figures, when they reflect the test setup instead of the system under test: a
//! worker was lost, the clocks differ, or the load generators were saturated. Only a valid run passes or fails.

use crate::criteria::Criterion;
use crate::event::FailureCode;
use crate::exit_code;
use crate::spec::{TaskSpec, nearest, shorten};
use crate::state::{Outcome, State, Step};
use crate::timestamp::Timestamp;
use crate::verdict::{CriterionResult, Judgement, NotEvaluated, Verdict};
use std::fmt;
use std::time::Duration;

/// Largest tolerated clock offset of a node, in milliseconds.
const CLOCK_TOLERANCE: u64 = 1000;
/// Tolerated distance of sample dates from the run: neither clocks nor observed start times are exact.
const DATE_TOLERANCE: Duration = Duration::from_secs(2);
/// Maximum number of lost workers, or clocks, that are listed one by one.
const MAX_LISTED: usize = 10;
/// Maximum number of other files that are named.
const MAX_NAMES: usize = 5;

/// The measurements of the result files on which the verdict depends.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Files with samples.
    pub files: usize,
    /// Files without figures.
    pub others: OtherFiles,
    /// Whether they are the master's files; otherwise they are the workers'.
    pub of_master: bool,
    /// Samples in them.
    pub samples: u64,
    /// Start of the first sample and end of the last, if the files contain dates.
    pub dates: Option<(Timestamp, Timestamp)>,
    /// The figure for each criterion, in the order of the criteria.
    pub readings: Vec<Reading>,
    /// Reasons for missing samples, as sentences: truncated or unreadable files.
    pub gaps: Vec<String>,
    /// Reasons, as sentences, why the figures cannot be trusted for any criterion.
    pub doubts: Vec<String>,
}

/// Files in `/atq/results` that are no result files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherFiles {
    /// Files of an unknown format.
    pub unrecognised: FileNames,
    /// Files that `resultFiles` excludes.
    pub excluded: FileNames,
}

/// The number of files, and the names of the first ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileNames {
    files: usize,
    first: Vec<String>,
}

/// The figure of the result files for a criterion.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// The figure in its base unit; the worst one if there are several windows.
    Value {
        /// The figure.
        value: f64,
        /// Start of the window.
        at: Option<Timestamp>,
    },
    /// No sample has the label; contains the existing labels.
    NoLabel(Vec<String>),
    /// The test tool does not report this figure.
    NotReported,
    /// There are no samples.
    Nothing,
}

impl OtherFiles {
    /// Adds files found later.
    pub fn extend(&mut self, other: Self) {
        self.unrecognised.extend(other.unrecognised);
        self.excluded.extend(other.excluded);
    }

    /// The reason why there is no result file. `selected`: `resultFiles` selects files.
    pub fn reason(&self, selected: bool) -> String {
        let (unrecognised, excluded) = (&self.unrecognised, &self.excluded);
        match (unrecognised.files, excluded.files) {
            (0, 0) if selected => {
                "no result file in `/atq/results` matches `resultFiles`".to_owned()
            }
            (0, 0) => {
                "no result file was found in `/atq/results` of the master or a worker".to_owned()
            }
            (0, 1) => {
                format!("1 file in `/atq/results`, which does not match `resultFiles`: {excluded}")
            }
            (0, files) => {
                format!("{files} files in `/atq/results`, none matches `resultFiles`: {excluded}")
            }
            (1, _) if selected => format!(
                "1 file in `/atq/results` matches `resultFiles`, but is not in a known format: {unrecognised}"
            ),
            (files, _) if selected => format!(
                "{files} files in `/atq/results` match `resultFiles`, none in a known format: {unrecognised}"
            ),
            (1, _) => format!("1 file in `/atq/results`, not in a known format: {unrecognised}"),
            (files, _) => {
                format!("{files} files in `/atq/results`, none in a known format: {unrecognised}")
            }
        }
    }
}

impl FileNames {
    /// Adds a file.
    pub fn push(&mut self, name: &str) {
        self.files += 1;
        if self.first.len() < MAX_NAMES {
            self.first.push(shorten(name));
        }
    }

    fn extend(&mut self, other: Self) {
        let room = MAX_NAMES.saturating_sub(self.first.len());
        self.files += other.files;
        self.first.extend(other.first.into_iter().take(room));
    }
}

impl fmt::Display for FileNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.first.iter().map(|name| format!("`{name}`")).collect();
        f.write_str(&names.join(", "))?;
        match self.files.saturating_sub(names.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Observations about the load generators.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadGenerators {
    /// For a node or container, the milliseconds by which its clock is ahead of the Director's.
    pub clock_offsets: Vec<(String, i64)>,
    /// Saturated generators, as sentences.
    pub saturated: Vec<String>,
}

/// The inputs of the verdict.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The definition.
    pub spec: &'a TaskSpec,
    /// The state of the run.
    pub state: &'a State,
    /// The measurements.
    pub measured: &'a Measured,
    /// The load generators.
    pub generators: &'a LoadGenerators,
    /// The time of the evaluation.
    pub now: Timestamp,
}

impl Inputs<'_> {
    /// True if a condition of `stopWhen` ended the run. Samples that are missing then cannot change the verdict, and the
    /// early end itself is a reason for them: fewer samples, files that end in the middle of a line.
    fn ended_early(&self) -> bool {
        self.state.stopped_when.is_some()
    }
}

/// Computes the verdict on a run. All reasons are listed, not only the first.
pub fn evaluate(inputs: &Inputs<'_>) -> Judgement {
    let criteria = criterion_results(&inputs.spec.criteria, &inputs.measured.readings);
    let invalid = invalid_reasons(inputs);
    let failure = failure(inputs.state);
    let holds = criteria.iter().all(|result| result.holds);
    let verdict = match (invalid.is_empty(), failure.is_none() && holds) {
        (false, _) => Verdict::Invalid,
        (true, false) => Verdict::Fail,
        (true, true) => Verdict::Pass,
    };
    Judgement {
        verdict,
        reasons: invalid.into_iter().chain(failure).collect(),
        criteria,
    }
}

/// The result of each criterion for its reading, in their order. Criteria without a reading are not evaluated.
pub fn criterion_results(criteria: &[Criterion], readings: &[Reading]) -> Vec<CriterionResult> {
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
        Reading::NotReported => "not in the result files".to_owned(),
        Reading::Nothing => "no sample".to_owned(),
    }
}

fn not_evaluated(reading: &Reading) -> Option<NotEvaluated> {
    match reading {
        Reading::Value { .. } => None,
        Reading::NoLabel(_) => Some(NotEvaluated::NoSuchLabel),
        Reading::NotReported => Some(NotEvaluated::NotReported),
        Reading::Nothing => Some(NotEvaluated::NoSamples),
    }
}

/// Reasons for an invalid run.
fn invalid_reasons(inputs: &Inputs<'_>) -> Vec<String> {
    let mut reasons: Vec<String> = ending(inputs.state).into_iter().collect();
    reasons.extend(lost(inputs.state));
    reasons.extend(samples(inputs));
    reasons.extend(inputs.generators.saturated.iter().cloned());
    reasons.extend(clocks(inputs.generators));
    reasons.extend(dates(inputs));
    if !inputs.ended_early() {
        reasons.extend(unmeasured(&inputs.spec.criteria, &inputs.measured.readings));
    }
    reasons
}

fn ending(state: &State) -> Option<String> {
    let lasted = match (state.started_at, state.finished_at) {
        (Some(start), Some(end)) => format!("after {:.1} s", end.since(start).as_secs_f64()),
        _ => "before the test began".to_owned(),
    };
    match (state.outcome, &state.failure) {
        (Some(Outcome::Finished), _) => None,
        // Its own definition ended the run.
        (Some(Outcome::Stopped), _) if state.stopped_when.is_some() => None,
        (Some(Outcome::Stopped), _) => Some(format!("the run was stopped {lasted}")),
        (Some(Outcome::Errored), Some(failure)) => match failure.code {
            // The exit code is the test tool's own result, unless the tool was terminated.
            FailureCode::MasterExit => terminated(state.exit_code),
            FailureCode::MaxDuration => {
                Some(format!("the run was ended {lasted} by `maxDuration`"))
            }
            // Every lost worker is listed.
            FailureCode::WorkerLost if !state.lost.is_empty() => None,
            _ => Some(format!(
                "the run failed in step `{}`: {}",
                failure.step.as_str(),
                failure.message
            )),
        },
        (Some(Outcome::Errored), None) => Some("the run failed for an unknown reason".to_owned()),
        (None, _) => Some("the run has not ended".to_owned()),
    }
}

/// The reason if the exit code was set by Docker or the shell and not by the test tool. Where the cause is known, it is the
/// sentence of the failure.
fn terminated(code: Option<i64>) -> Option<String> {
    let code = code?;
    let meaning = match (exit_code::in_brackets(code), code) {
        (known, 126 | 127 | 129..=159) if !known.is_empty() => known,
        (_, 125) => " (set by the container engine, not by the test tool)".to_owned(),
        (_, 129..=159) => format!(" (ended by signal {})", code - 128),
        _ => return None,
    };
    Some(format!("the master ended with exit code {code}{meaning}"))
}

fn lost(state: &State) -> Vec<String> {
    let reasons = state.lost.iter().map(|lost| {
        format!(
            "worker {} was lost while the test ran: {}",
            lost.replica,
            shorten(&lost.reason)
        )
    });
    truncated(reasons.collect(), "workers were lost")
}

/// The first entries and the number of the remaining ones.
fn truncated(mut all: Vec<String>, what: &str) -> Vec<String> {
    let more = all.len().saturating_sub(MAX_LISTED);
    all.truncate(MAX_LISTED);
    all.extend((more > 0).then(|| format!("{more} more {what}")));
    all
}

fn samples(inputs: &Inputs<'_>) -> Vec<String> {
    let (spec, measured) = (inputs.spec, inputs.measured);
    let mut reasons = Vec::new();
    let is_required = spec.has_requirements() || !spec.result_files.is_empty();
    if measured.samples == 0 && (is_required || measured.files > 0) {
        reasons.push(no_samples(spec, measured));
    }
    match spec.min_samples {
        Some(least) if measured.samples < least && !inputs.ended_early() => reasons.push(format!(
            "there are {} samples; `minSamples` requires {least}",
            measured.samples
        )),
        _ => {}
    }
    reasons.extend(measured.doubts.iter().cloned());
    if spec.has_requirements() && !inputs.ended_early() {
        reasons.extend(measured.gaps.iter().cloned());
    }
    reasons
}

fn no_samples(spec: &TaskSpec, measured: &Measured) -> String {
    match measured.files {
        0 => {
            let reason = measured.others.reason(!spec.result_files.is_empty());
            format!("there is no sample: {reason}")
        }
        1 => "there is no sample in the result file".to_owned(),
        files => format!("there is no sample in the {files} result files"),
    }
}

fn clocks(generators: &LoadGenerators) -> Vec<String> {
    let off = generators
        .clock_offsets
        .iter()
        .filter(|(_, ahead)| ahead.unsigned_abs() > CLOCK_TOLERANCE);
    let reasons = off.map(|(name, ahead)| {
        let seconds = ahead.unsigned_abs() as f64 / 1000.0;
        let way = if *ahead > 0 { "ahead of" } else { "behind" };
        format!(
            "the clock of `{name}` is {seconds:.1} s {way} the Director's; at most {:.1} s is allowed",
            CLOCK_TOLERANCE as f64 / 1000.0
        )
    });
    truncated(reasons.collect(), "clocks are off")
}

/// Samples dated outside of the run: a clock is off, or they belong to another run.
fn dates(inputs: &Inputs<'_>) -> Vec<String> {
    let (state, Some((first, last))) = (inputs.state, inputs.measured.dates) else {
        return Vec::new();
    };
    if state.started_at.is_none() {
        return Vec::new();
    }
    // Workers may generate load before the master starts and, until they are stopped, after it has ended.
    let (started, ended) = match inputs.measured.of_master {
        true => (entered(state, Step::Master), state.finished_at),
        false => (entered(state, Step::Workers), None),
    };
    let grace = match has_stopped_master(state) {
        true => inputs.spec.master.stop_grace(),
        false => Duration::ZERO,
    };
    let ended = ended.map_or(inputs.now, |ended| ended.plus(grace));
    let early = started.since(first);
    let late = last.since(ended);
    let reason = |sample: &str, off: Duration, edge: &str| {
        let off = off.as_secs_f64();
        format!("the {sample} sample is dated {off:.1} s {edge} by the Director's clock")
    };
    let early =
        (early > DATE_TOLERANCE).then(|| reason("first", early, "before the start of the run"));
    let late = (late > DATE_TOLERANCE).then(|| reason("last", late, "after the end of the run"));
    early.into_iter().chain(late).collect()
}

/// Whether the Director stopped the master, which may then continue for its grace period.
fn has_stopped_master(state: &State) -> bool {
    match state.outcome {
        Some(Outcome::Stopped) => true,
        Some(Outcome::Errored) => {
            let code = state.failure.as_ref().map(|failure| failure.code);
            code != Some(FailureCode::MasterExit)
        }
        Some(Outcome::Finished) | None => false,
    }
}

/// The start of a completed step: the sum of the durations of all earlier steps.
fn entered(state: &State, step: Step) -> Timestamp {
    let before: u64 = state.timings.range(..step).map(|(_, millis)| millis).sum();
    state.created_at.plus(Duration::from_millis(before))
}

/// Criteria for which there is no figure.
fn unmeasured(criteria: &[Criterion], readings: &[Reading]) -> Vec<String> {
    let pairs = criteria.iter().zip(readings);
    let reasons = pairs.filter_map(|(criterion, reading)| match reading {
        Reading::NoLabel(labels) => {
            let label = criterion.label.as_deref().unwrap_or_default();
            let labels: Vec<String> = labels.iter().map(|label| shorten(label)).collect();
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let hint = match labels.len() {
                0 => String::new(),
                1..=MAX_LISTED => format!("; {}", nearest(label, &labels)),
                _ => other_labels_hint(label, &labels),
            };
            Some(format!(
                "no sample has the label `{}` of the criterion `{criterion}`{hint}",
                shorten(label)
            ))
        }
        Reading::NotReported => Some(format!(
            "the result files lack the figure for the criterion `{criterion}`"
        )),
        Reading::Value { .. } | Reading::Nothing => None,
    });
    reasons.collect()
}

/// A hint for more labels than can be listed.
fn other_labels_hint(label: &str, labels: &[&str]) -> String {
    match nearest(label, labels) {
        hint if hint.starts_with("did you mean") => format!("; {hint}"),
        _ => format!("; there are {} other labels", labels.len()),
    }
}

/// The reason for a failed run other than its criteria.
fn failure(state: &State) -> Option<String> {
    if let Some(met) = &state.stopped_when {
        let (condition, seen) = (&met.condition, &met.seen);
        return Some(format!(
            "the run was stopped, as `{condition}` was met: {seen}"
        ));
    }
    let code = match (state.outcome, &state.failure) {
        (Some(Outcome::Finished), _) => state.exit_code.unwrap_or(0),
        (Some(Outcome::Errored), Some(failure)) if failure.code == FailureCode::MasterExit => {
            state.exit_code.unwrap_or(1)
        }
        _ => 0,
    };
    (code != 0 && terminated(Some(code)).is_none())
        .then(|| format!("the master ended with exit code {code}"))
}

#[cfg(test)]
mod tests;
