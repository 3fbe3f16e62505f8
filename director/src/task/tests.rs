#![allow(clippy::unwrap_used)]
//! Tables, snapshots and properties of the pure part.

mod amounts;
mod fields;
mod images;
mod machine;
mod parse;
mod plans;
mod properties;
mod values;

use super::spec::{Fault, Surroundings, TaskSpec};
use super::timestamp::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use time::macros::datetime;

/// One bundle, one image that demands variables, one that may not run.
pub(super) struct Around {
    pub max_replicas: u64,
}

pub(super) const BUNDLE: &str = "0123456789abcdef0123456789abcdef";

impl Surroundings for Around {
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
pub(crate) fn payload(changes: &[(&str, Value)]) -> Value {
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

pub(crate) fn parse(payload: &Value) -> Result<TaskSpec, Vec<Fault>> {
    TaskSpec::parse(payload, &Around { max_replicas: 1000 })
}

pub(crate) fn spec(changes: &[(&str, Value)]) -> TaskSpec {
    parse(&payload(changes)).unwrap()
}

#[test]
fn timestamps_are_rfc_3339_and_saturate() {
    let at = Timestamp::from(datetime!(2026-01-31 12:00:00.250 UTC));
    assert_eq!(at.0, 1_769_860_800_250);
    assert_eq!(at.to_string(), "2026-01-31T12:00:00.25Z");
    assert_eq!(
        at.plus(Duration::from_millis(750)).since(at),
        Duration::from_millis(750)
    );
    assert_eq!(at.since(at.plus(Duration::from_secs(1))), Duration::ZERO);
    assert_eq!(at.plus(Duration::MAX), Timestamp(u64::MAX));
    assert_eq!(Timestamp(u64::MAX).to_string(), "18446744073709551615 ms");
    assert_eq!(
        Timestamp::from(datetime!(1950-01-01 0:00 UTC)),
        Timestamp(0)
    );
}
