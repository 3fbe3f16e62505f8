//! Criteria and stop conditions for the figures of a running test.

use super::figures::{metric, whole};
use atq_report::live::{LastWindow, Live, Measure, Measured};
use atq_report::{Figures, Metric, Window};
use atq_task::criteria::{Criterion, Figure, StopCondition};
use atq_task::rules::{Reading, criterion_results};
use atq_task::spec::TaskSpec;
use atq_task::verdict::CriterionResult;

/// A stop condition and its latest window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionResult {
    /// The condition, as defined.
    pub condition: String,
    /// The value of the latest window with its unit, or the reason why it is unknown.
    pub seen: Result<String, String>,
    /// Whether the run is to end.
    pub is_met: bool,
    /// Whether its value was known at least once.
    pub was_known: bool,
}

/// The criteria and stop conditions of a running test.
#[derive(Debug)]
pub struct SoFar {
    conditions: Vec<StopCondition>,
    criteria: Vec<Criterion>,
    /// For each condition, whether its value was known at least once.
    known: Vec<bool>,
    /// For each criterion with a window, the worst value that was seen.
    worst: Vec<Option<f64>>,
}

impl SoFar {
    /// The criteria and stop conditions of a definition.
    pub fn new(spec: &TaskSpec) -> Self {
        Self {
            conditions: spec.stop_when.clone(),
            criteria: spec.criteria.clone(),
            known: vec![false; spec.stop_when.len()],
            worst: vec![None; spec.criteria.len()],
        }
    }

    /// True if there are neither criteria nor stop conditions.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.criteria.is_empty()
    }

    /// The windows that [`Live`] is to watch: one for each condition, then one for each criterion.
    pub fn windows(&self) -> Vec<Window> {
        let conditions = self.conditions.iter().map(StopCondition::criterion);
        let all = conditions.chain(&self.criteria);
        let windows = all.map(|criterion| Window {
            label: criterion.label.clone(),
            metric: match criterion.window {
                Some(_) => metric(criterion.figure),
                // Only keeps the label.
                None => Metric::Max,
            },
            seconds: criterion.window.unwrap_or(1),
        });
        windows.collect()
    }

    /// Evaluates the conditions for the latest windows, which are in the order of [`SoFar::windows`]. With a `doubt`, no
    /// value is known.
    pub fn observe(&mut self, last: &[LastWindow], doubt: Option<&str>) -> Vec<ConditionResult> {
        let of_criteria = last.get(self.conditions.len()..).unwrap_or_default();
        let criteria = self.criteria.iter().zip(&mut self.worst);
        for ((criterion, worst), window) in criteria.zip(of_criteria) {
            if criterion.window.is_some() && doubt.is_none() {
                *worst = worse(criterion, *worst, window.value());
            }
        }
        let conditions = self.conditions.iter().zip(&mut self.known).enumerate();
        let results = conditions.map(|(index, (condition, was_known))| {
            let value = match (doubt, last.get(index)) {
                (Some(doubt), _) => Err(doubt.to_owned()),
                (None, Some(LastWindow::Value(value))) => Ok(*value),
                (None, Some(LastWindow::Unknown(why))) => Err(why.clone()),
                (None, None) => Err("there are no samples yet".to_owned()),
            };
            *was_known |= value.is_ok();
            ConditionResult {
                was_known: *was_known,
                condition: condition.to_string(),
                is_met: condition.is_met(value.as_ref().ok().copied()),
                seen: value.map(|value| condition.criterion().seen(value)),
            }
        });
        results.collect()
    }

    /// Evaluates the criteria for the figures so far; `total` are those of all samples. For a criterion with a window,
    /// the worst value that was seen counts.
    pub fn criteria(&self, live: &Live, total: &Figures) -> Vec<CriterionResult> {
        let measured = live.measure(self.criteria.iter().map(|criterion| Measure {
            label: criterion.label.as_deref(),
            percentile: match criterion.figure {
                Figure::Percentile(percentile) => Some(percentile),
                _ => None,
            },
        }));
        let known = self.criteria.iter().zip(&self.worst).zip(&measured);
        let readings = known.map(|((criterion, worst), measured)| match total.samples {
            0 => Reading::Nothing,
            _ => reading(criterion, *worst, measured.as_ref(), total),
        });
        criterion_results(&self.criteria, &readings.collect::<Vec<_>>())
    }
}

fn worse(criterion: &Criterion, worst: Option<f64>, value: Option<f64>) -> Option<f64> {
    match (worst, value) {
        (Some(worst), Some(value)) if criterion.is_upper_bound() => Some(worst.max(value)),
        (Some(worst), Some(value)) => Some(worst.min(value)),
        (worst, value) => worst.or(value),
    }
}

fn reading(
    criterion: &Criterion,
    worst: Option<f64>,
    measured: Option<&Measured>,
    total: &Figures,
) -> Reading {
    let figures = match (&criterion.label, measured) {
        (None, _) => total,
        (Some(_), Some(measured)) => &measured.figures,
        (Some(_), None) => return Reading::NoLabel(Vec::new()),
    };
    // A run that is shorter than a window is evaluated as a whole.
    let percentile = measured.and_then(|measured| measured.percentile);
    let value = worst.or_else(|| whole(criterion, figures, percentile));
    value.map_or(Reading::NotReported, |value| Reading::Value {
        value,
        at: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use atq_definition::examples::spec;
    use serde_json::json;

    const START: u64 = 1_795_255_200_000;

    fn so_far(criteria: serde_json::Value, conditions: serde_json::Value) -> SoFar {
        SoFar::new(&spec(&[("/criteria", criteria), ("/stopWhen", conditions)]))
    }

    /// Feeds one second with ten samples of this duration.
    fn feed(live: &mut Live, second: u64, elapsed: u64) {
        let mut text = String::new();
        if second == 0 {
            text.push_str("timestamp,elapsed,label,success\n");
        }
        for number in 0..10 {
            let end = START + second * 1000 + number * 99;
            text.push_str(&format!("{},{elapsed},Login,true\n", end - elapsed));
        }
        live.feed("worker.1/results.csv", text.as_bytes());
    }

    fn seen(results: &[CriterionResult]) -> Vec<(&str, bool)> {
        let results = results.iter();
        results
            .map(|result| (result.seen.as_str(), result.holds))
            .collect()
    }

    #[test]
    fn criteria_are_those_of_the_figures_so_far_and_of_the_worst_window() {
        let mut so_far = so_far(
            json!([
                "p97.5 < 60ms",
                "max of Login < 60ms",
                "p95 of Cart < 1s",
                "mean < 30ms for 2s",
                "throughput > 5/s",
                "samples >= 1000"
            ]),
            json!([]),
        );
        let mut live = Live::new(so_far.windows());
        for (second, elapsed) in [10, 10, 50, 50, 10, 10, 10, 10].into_iter().enumerate() {
            feed(&mut live, second as u64, elapsed);
            let last = live.windows(START + second as u64 * 1000 + 1000);
            so_far.observe(&last, None);
        }
        let total = live.snapshot(START + 8000).total;
        let results = so_far.criteria(&live, &total);
        assert_eq!(
            seen(&results),
            [
                ("50 ms", true),
                ("50 ms", true),
                ("no sample with this label", false),
                ("50 ms", false),
                (results[4].seen.as_str(), true),
                ("80", false),
            ]
        );
    }

    #[test]
    fn without_samples_nothing_is_evaluated() {
        let mut so_far = so_far(json!(["errors < 1%"]), json!(["errors > 1% for 5s"]));
        let mut live = Live::new(so_far.windows());
        let last = live.windows(START);
        let conditions = so_far.observe(&last, None);
        assert_eq!(
            conditions[0].seen,
            Err("there are no samples with times yet".to_owned())
        );
        let results = so_far.criteria(&live, &Figures::default());
        assert_eq!(seen(&results), [("no sample", false)]);
    }

    #[test]
    fn with_a_doubt_no_condition_is_met() {
        let mut so_far = so_far(json!([]), json!(["mean > 1ms for 1s"]));
        let mut live = Live::new(so_far.windows());
        for second in 0..5 {
            feed(&mut live, second, 50);
        }
        let last = live.windows(START + 5000);
        let met = so_far.observe(&last, None);
        assert_eq!((met[0].is_met, met[0].seen.as_deref()), (true, Ok("50 ms")));
        let doubtful = so_far.observe(&last, Some("it is unclear"));
        assert!(!doubtful[0].is_met);
        assert_eq!(doubtful[0].seen, Err("it is unclear".to_owned()));
    }
}
