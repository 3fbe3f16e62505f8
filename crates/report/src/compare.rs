//! Compares two runs.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::sample::is_known;
use atq_api_spec::report::{
    Comparison, Figures, FiguresPair, NamedFigures, NamedPair, Report, Verdict,
};

/// Relative difference of durations above which it is reported.
const DURATION_DIFFERENCE: f64 = 0.1;

/// Compares `current` with `baseline`: in total, and for every label of either run, sorted by
/// name.
pub fn compare(current: &Report, baseline: &Report) -> Comparison {
    Comparison {
        baseline: baseline.task.clone(),
        total: pair(Some(&baseline.total), Some(&current.total)),
        labels: labels(&current.labels, &baseline.labels),
        differences: differences(current, baseline),
    }
}

/// Differences that make the figures of two runs hard to compare.
fn differences(current: &Report, baseline: &Report) -> Vec<String> {
    let invalid = [current, baseline].into_iter().filter(|report| {
        let judgement = report.judgement.as_ref();
        judgement.is_some_and(|given| given.verdict == Verdict::Invalid)
    });
    let mut differences: Vec<String> = invalid
        .map(|report| format!("the run of `{}` is invalid", report.task))
        .collect();
    let (now, before) = (current.duration, baseline.duration);
    if (now - before).abs() > DURATION_DIFFERENCE * now.max(before) {
        differences.push(format!(
            "this run took {now:.1} s, the baseline {before:.1} s"
        ));
    }
    differences
}

fn labels(current: &[NamedFigures], baseline: &[NamedFigures]) -> Vec<NamedPair> {
    let mut by_name: BTreeMap<&str, (Option<&Figures>, Option<&Figures>)> = BTreeMap::new();
    for label in baseline {
        by_name.entry(&label.name).or_default().0 = Some(&label.figures);
    }
    for label in current {
        by_name.entry(&label.name).or_default().1 = Some(&label.figures);
    }
    by_name
        .into_iter()
        .map(|(name, (baseline, current))| NamedPair {
            name: name.to_owned(),
            pair: pair(baseline, current),
        })
        .collect()
}

fn pair(baseline: Option<&Figures>, current: Option<&Figures>) -> FiguresPair {
    let change_percent = match (baseline, current) {
        (Some(baseline), Some(current)) => changes(baseline, current),
        _ => BTreeMap::new(),
    };
    FiguresPair {
        baseline: baseline.cloned(),
        current: current.cloned(),
        change_percent,
    }
}

fn changes(baseline: &Figures, current: &Figures) -> BTreeMap<String, f64> {
    named(baseline)
        .into_iter()
        .zip(named(current))
        .filter(|((name, _), _)| is_known(baseline, name) && is_known(current, name))
        .filter_map(|((name, before), (_, now))| Some((name.to_owned(), change(before, now)?)))
        .collect()
}

/// Change in percent of `before`; `None` if `before` is zero or a value is not finite.
fn change(before: f64, now: f64) -> Option<f64> {
    let change = (now - before) / before * 100.0;
    (before != 0.0 && change.is_finite()).then_some(change)
}

/// The figures by their names in JSON. Counts above 2^53 lose precision, which does not affect
/// percentages.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn named(figures: &Figures) -> [(&'static str, f64); 13] {
    [
        ("samples", figures.samples as f64),
        ("errors", figures.errors as f64),
        ("errorPercent", figures.error_percent),
        ("throughput", figures.throughput),
        ("min", figures.min),
        ("mean", figures.mean),
        ("p50", figures.p50),
        ("p90", figures.p90),
        ("p95", figures.p95),
        ("p99", figures.p99),
        ("max", figures.max),
        ("receivedBytes", figures.received_bytes as f64),
        ("sentBytes", figures.sent_bytes as f64),
    ]
}
