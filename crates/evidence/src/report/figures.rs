//! Translates criteria into options of the tally, and its report into the values of the criteria.

use atq_report::{Figures, Finished, Metric, Options, Report, Tally, Window, WindowResult};
use atq_task::criteria::{Criterion, Figure, Unit};
use atq_task::rules::{OtherFiles, Reading};
use atq_task::spec::TaskSpec;
use atq_task::timestamp::Timestamp;

/// The windows to compute while the files are read: one for each criterion with a window or a
/// label, in their order. The tally always keeps a label that is named here.
pub(super) fn options(criteria: &[Criterion]) -> Options {
    Options {
        windows: criteria.iter().filter_map(window).collect(),
    }
}

fn window(criterion: &Criterion) -> Option<Window> {
    let (metric, seconds) = match criterion.window {
        Some(seconds) => (metric(criterion.figure), seconds),
        None if criterion.label.is_some() => (Metric::Max, u32::MAX),
        None => return None,
    };
    Some(Window {
        label: criterion.label.clone(),
        metric,
        seconds,
    })
}

pub(super) fn metric(figure: Figure) -> Metric {
    match figure {
        Figure::Percentile(percent) => Metric::Percentile(percent),
        Figure::Mean => Metric::Mean,
        Figure::Min => Metric::Min,
        Figure::Max => Metric::Max,
        // Counts have no window, so this value is not used.
        Figure::Errors => Metric::ErrorPercent,
        Figure::Throughput | Figure::Samples => Metric::Throughput,
    }
}

/// Finishes the report and computes the value of each criterion.
pub(super) fn finish(
    mut tally: Tally,
    spec: &TaskSpec,
    run: &str,
    others: &OtherFiles,
) -> (Finished, Vec<Reading>) {
    let percentiles: Vec<Option<f64>> = spec
        .criteria
        .iter()
        .map(|criterion| match criterion.figure {
            Figure::Percentile(percent) => tally.percentile(criterion.label.as_deref(), percent),
            _ => None,
        })
        .collect();
    let mut finished = tally.finish(spec.name.as_str(), run);
    let report = &mut finished.report;
    let selected = !spec.result_files.is_empty();
    // Other files of a tool are not sources of figures, unless `resultFiles` names them.
    report
        .sources
        .retain(|source| selected || !source.format.is_empty() || source.problem.is_some());
    if report.sources.is_empty() {
        report.notes.push(others.reason(selected));
    }
    let mut windows = finished.windows.windows.iter();
    let readings = spec.criteria.iter().zip(percentiles);
    let readings = readings.map(|(criterion, percentile)| {
        let window = window(criterion).and_then(|_| windows.next());
        reading(criterion, &finished.report, percentile, window)
    });
    let readings = readings.collect();
    (finished, readings)
}

fn reading(
    criterion: &Criterion,
    report: &Report,
    percentile: Option<f64>,
    window: Option<&WindowResult>,
) -> Reading {
    if report.total.samples == 0 && report.labels.is_empty() {
        return Reading::Nothing;
    }
    let figures = match &criterion.label {
        None => &report.total,
        Some(label) => match report.labels.iter().find(|named| named.name == *label) {
            Some(named) => &named.figures,
            None => {
                let labels = report.labels.iter().map(|named| named.name.clone());
                return Reading::NoLabel(labels.collect());
            }
        },
    };
    let read = match (criterion.window, window) {
        (Some(_), Some(window)) => worst(criterion, window),
        _ => whole(criterion, figures, percentile).map(|value| (value, None)),
    };
    match read {
        Some((value, at)) => Reading::Value { value, at },
        None => Reading::NotReported,
    }
}

/// The value of the worst window and its start. For a run that is shorter than a window, the value of the whole run,
/// without a start.
fn worst(criterion: &Criterion, window: &WindowResult) -> Option<(f64, Option<Timestamp>)> {
    let worst = match criterion.is_upper_bound() {
        true => window.max,
        false => window.min,
    };
    let at = |at: u64| window.complete.then_some(Timestamp(at));
    worst.map(|worst| (worst.value, at(worst.at)))
}

/// The value of a criterion for the whole run; `None` if it is not reported.
pub(super) fn whole(
    criterion: &Criterion,
    figures: &Figures,
    percentile: Option<f64>,
) -> Option<f64> {
    let (name, value) = match criterion.figure {
        // The tally computes any percentile of samples; percentiles of a tool's summary are in the report.
        Figure::Percentile(percent) => {
            return percentile.or_else(|| from_summary(figures, percent));
        }
        Figure::Mean => ("mean", figures.mean),
        Figure::Min => ("min", figures.min),
        Figure::Max => ("max", figures.max),
        Figure::Errors if criterion.unit == Unit::Percent => {
            ("errorPercent", figures.error_percent)
        }
        Figure::Errors => ("errors", figures.errors as f64),
        Figure::Throughput => ("throughput", figures.throughput),
        Figure::Samples => ("samples", figures.samples as f64),
    };
    is_known(figures, name).then_some(value)
}

fn from_summary(figures: &Figures, percent: f64) -> Option<f64> {
    let all = [
        (50.0, "p50", figures.p50),
        (90.0, "p90", figures.p90),
        (95.0, "p95", figures.p95),
        (99.0, "p99", figures.p99),
        (100.0, "max", figures.max),
    ];
    let found = all
        .iter()
        .find(|(known, name, _)| *known == percent && is_known(figures, name));
    found.map(|(_, _, value)| *value)
}

fn is_known(figures: &Figures, name: &str) -> bool {
    let same = |missing: &String| missing.eq_ignore_ascii_case(name);
    // The error rate is computed from the errors.
    let made_of = |missing: &String| name == "errorPercent" && missing == "errors";
    !figures
        .missing
        .iter()
        .any(|missing| same(missing) || made_of(missing))
}

/// Start of the first sample and end of the last.
pub(super) fn dates(report: &Report) -> Option<(Timestamp, Timestamp)> {
    let date = |text: &Option<String>| text.as_deref().and_then(Timestamp::parse);
    Some((date(&report.started_at)?, date(&report.ended_at)?))
}
