//! Conditions that end a run early.

use super::parser::{self, Purpose};
use super::{Criterion, CriterionError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A condition that ends a run early, such as `errors > 20% for 30s`: it is met if it holds for the samples of the latest
/// seconds. `Display` prints its canonical form, which parses to the same condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StopCondition {
    criterion: Criterion,
    seconds: u32,
}

impl StopCondition {
    /// Parses a condition. Errors and response times have upper limits (`>`, `>=`), the throughput either; a
    /// window is required.
    ///
    /// # Errors
    /// The first error, with its position.
    pub fn parse(text: &str) -> Result<Self, CriterionError> {
        let criterion = parser::parse(text, Purpose::Stop)?;
        let Some(seconds) = criterion.window else {
            return Err(CriterionError {
                column: text.chars().count() + 1,
                message: "expected `for` and a duration".to_owned(),
            });
        };
        Ok(Self { criterion, seconds })
    }

    /// The figure, label, operator and limit.
    pub fn criterion(&self) -> &Criterion {
        &self.criterion
    }

    /// Length of the window in seconds.
    pub fn seconds(&self) -> u32 {
        self.seconds
    }

    /// True if the run is to end; `value` is that of the latest window, in the figure's
    /// [base unit](super::Unit::base), or `None` if it is unknown.
    pub fn is_met(&self, value: Option<f64>) -> bool {
        value.is_some_and(|value| self.criterion.holds(value))
    }
}

impl fmt::Display for StopCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.criterion.fmt(f)
    }
}

impl TryFrom<String> for StopCondition {
    type Error = CriterionError;

    fn try_from(text: String) -> Result<Self, CriterionError> {
        Self::parse(&text)
    }
}

impl From<StopCondition> for String {
    fn from(condition: StopCondition) -> Self {
        condition.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::examples::any_criterion;
    use proptest::prelude::*;

    fn message(text: &str) -> String {
        StopCondition::parse(text)
            .expect_err("it was accepted")
            .to_string()
    }

    #[test]
    fn conditions_have_one_canonical_form() {
        for (text, form) in [
            ("errors > 20% for 30s", "errors > 20% for 30s"),
            ("P95 of Login>2s FOR 1m", "p95 of Login > 2s for 60s"),
            ("throughput < 5/s for 20s", "throughput < 5/s for 20s"),
            ("throughput >= 5/s for 20s", "throughput >= 5/s for 20s"),
            (
                "avg of \"GET /\" >= 300ms for 1min",
                "mean of \"GET /\" >= 300ms for 60s",
            ),
        ] {
            let condition = StopCondition::parse(text).unwrap();
            assert_eq!(condition.to_string(), form, "{text}");
            assert_eq!(StopCondition::parse(form).unwrap(), condition);
            let json = serde_json::to_string(&condition).unwrap();
            assert_eq!(
                serde_json::from_str::<StopCondition>(&json).unwrap(),
                condition
            );
        }
    }

    #[test]
    fn an_error_has_a_position_and_the_expected_text() {
        for (text, expected) in [
            (
                "errors > 20%",
                "column 13: the text ends here; expected `for` and a duration, for example `for 30s`",
            ),
            (
                "errors > 20%  ",
                "column 13: the text ends here; expected `for` and a duration, for example `for 30s`",
            ),
            (
                "errors < 20% for 30s",
                "column 8: found `<`; a run ends early if `errors` is above a limit: expected `>` or `>=`",
            ),
            (
                "p95 of Login <= 2s for 1m",
                "column 14: found `<=`; a run ends early if `p95` is above a limit: expected `>` or `>=`",
            ),
            (
                "errors = 5 for 30s",
                "column 8: found `=`; a run ends early if `errors` is above a limit: expected `>` or `>=`",
            ),
            (
                "errors > 5 for 30s",
                "column 11: `5` is a number of errors, which refers to the whole run; expected a rate, for example `20%`",
            ),
            (
                " max > 2s for 30s",
                "column 2: `max` refers to the whole run; a run ends early because of `errors`, `throughput`, `mean` or a percentile such as `p95`",
            ),
            (
                "samples > 5 for 30s",
                "column 1: `samples` refers to the whole run; a run ends early because of `errors`, `throughput`, `mean` or a percentile such as `p95`",
            ),
            (
                "errors > 20% for 30",
                "column 20: `30` has no unit; expected `s`, `m` or `h`",
            ),
            (
                "erors > 20% for 30s",
                "column 1: `erors` is not a figure; did you mean `errors`?",
            ),
        ] {
            assert_eq!(message(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_value_never_ends_a_run() {
        let condition = StopCondition::parse("throughput < 5/min for 20s").unwrap();
        assert!(!condition.is_met(None));
        assert!(condition.is_met(Some(0.0)));
        assert!(!condition.is_met(Some(0.1)));
    }

    proptest! {
        #[test]
        fn every_condition_is_a_criterion_with_a_window(criterion in any_criterion()) {
            let text = criterion.to_string();
            if let Ok(condition) = StopCondition::parse(&text) {
                prop_assert_eq!(Some(condition.seconds()), criterion.window);
                prop_assert_eq!(condition.criterion(), &criterion);
            }
        }

        #[test]
        fn any_text_is_read_or_has_an_error(text in "(p95|errors|mean|x| |<|>|=|of|for|5|%|s|/s|\"){0,12}") {
            if let Err(error) = StopCondition::parse(&text) {
                prop_assert!(error.column <= text.chars().count() + 1);
            }
        }
    }
}
