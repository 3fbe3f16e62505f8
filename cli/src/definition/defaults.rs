//! Assumptions about the Director for validation without it.

use atq_definition::spec::{Fault, Surroundings};
use serde_json::Value;

/// Digits of a bundle's id.
const ID_DIGITS: usize = 32;
/// Default limit of replicas.
const MAX_REPLICAS: u64 = 1000;

/// A Director with default configuration that has every bundle with every file.
pub(super) struct DefaultDirector;

impl Surroundings for DefaultDirector {
    fn max_replicas(&self) -> u64 {
        MAX_REPLICAS
    }

    fn has_bundle(&self, id: &str) -> bool {
        id.len() == ID_DIGITS && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    fn required_variables(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// Whether the fault depends on the configured limit of replicas.
pub(super) fn depends_on_the_limit(fault: &Fault, payload: &Value) -> bool {
    let Some(role) = fault.field.strip_suffix(".replicas") else {
        return false;
    };
    let replicas = payload.get(role).and_then(|role| role.get("replicas"));
    replicas
        .and_then(Value::as_u64)
        .is_some_and(|number| number > MAX_REPLICAS)
}

/// A syntactically valid id, for a definition that gets its bundle later.
pub(super) fn placeholder_id() -> String {
    "0".repeat(ID_DIGITS)
}
