#![allow(clippy::unwrap_used)]
//! Definitions for tests.

use crate::criteria::{Criterion, Figure, Operator, Unit};
use crate::spec::{Fault, Surroundings, TaskSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Test surroundings: one bundle, one image with required variables, one forbidden image.
#[derive(Debug)]
pub struct TestSurroundings {
    /// Maximum number of replicas.
    pub max_replicas: u64,
}

/// The id of the existing bundle.
pub const BUNDLE: &str = "0123456789abcdef0123456789abcdef";

impl Surroundings for TestSurroundings {
    fn max_replicas(&self) -> u64 {
        self.max_replicas
    }

    fn has_bundle(&self, id: &str) -> bool {
        id == BUNDLE
    }

    fn required_variables(&self, image: &str) -> Result<Vec<String>, String> {
        match image {
            "demanding:1" => Ok(vec!["REMOTES".into(), "PLAN".into()]),
            "forbidden:1" => Err("`forbidden:1` is not allowed".into()),
            _ => Ok(Vec::new()),
        }
    }
}

/// The smallest definition with the given changes: a pointer and its value.
pub fn payload(changes: &[(&str, Value)]) -> Value {
    let mut payload = json!({
        "name": "load",
        "worker": {"alias": "w", "image": "tool:1"},
        "master": {"alias": "m", "image": "boss:1"},
    });
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = payload.pointer_mut(parent).unwrap();
        parent[key] = value.clone();
    }
    payload
}

/// Parses a definition in the test surroundings.
///
/// # Errors
/// The faults of the definition.
pub fn parse(payload: &Value) -> Result<TaskSpec, Vec<Fault>> {
    TaskSpec::parse(payload, &TestSurroundings { max_replicas: 1000 })
}

/// The parsed smallest definition with the given changes.
pub fn spec(changes: &[(&str, Value)]) -> TaskSpec {
    parse(&payload(changes)).unwrap()
}

fn any_figure() -> impl Strategy<Value = Figure> {
    prop_oneof![
        (1u32..=100_000).prop_map(|n| Figure::Percentile(f64::from(n) / 1000.0)),
        Just(Figure::Mean),
        Just(Figure::Min),
        Just(Figure::Max),
        Just(Figure::Errors),
        Just(Figure::Throughput),
        Just(Figure::Samples),
    ]
}

/// Generates valid criteria.
pub fn any_criterion() -> impl Strategy<Value = Criterion> {
    (
        any_figure(),
        proptest::option::of("\\PC{1,20}"),
        0usize..6,
        0u64..2_000_000,
        any::<proptest::sample::Index>(),
        proptest::option::of(1u32..=86_400),
    )
        .prop_map(|(figure, label, operator, amount, unit, window)| {
            let units: &[Unit] = match figure {
                Figure::Errors => &[Unit::Percent, Unit::Count],
                Figure::Samples => &[Unit::Count],
                Figure::Throughput => &[Unit::PerSecond, Unit::PerMinute, Unit::PerHour],
                _ => &[Unit::Millis, Unit::Seconds, Unit::Minutes],
            };
            let unit = *unit.get(units);
            let operators = if unit == Unit::Count { 6 } else { 4 };
            let operator = [
                Operator::Below,
                Operator::AtMost,
                Operator::Above,
                Operator::AtLeast,
                Operator::Equal,
                Operator::Unequal,
            ][operator % operators];
            let divisor = if unit == Unit::Count { 1.0 } else { 1000.0 };
            Criterion {
                figure,
                label,
                operator,
                amount: amount as f64 / divisor,
                unit,
                window: window.filter(|_| {
                    unit != Unit::Count && !matches!(figure, Figure::Min | Figure::Max)
                }),
            }
        })
}
