//! What is known of a Director without asking it.

use atq_definition::spec::{Fault, Surroundings};
use serde_json::Value;

/// Digits of a bundle's id.
const ID_DIGITS: usize = 32;
/// Largest number of replicas that a Director allows which is not configured otherwise.
const MAX_REPLICAS: u64 = 1000;

/// A Director that is not configured otherwise, and has every bundle with every file.
pub(super) struct Anywhere;

impl Surroundings for Anywhere {
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

/// Whether the fault may be none for a Director with a higher limit of replicas.
pub(super) fn depends_on_the_limit(fault: &Fault, payload: &Value) -> bool {
    let Some(role) = fault.field.strip_suffix(".replicas") else {
        return false;
    };
    let replicas = payload.get(role).and_then(|role| role.get("replicas"));
    replicas
        .and_then(Value::as_u64)
        .is_some_and(|number| number > MAX_REPLICAS)
}

/// An id of the right shape, for a definition whose bundle is still to come.
pub(super) fn some_id() -> String {
    "0".repeat(ID_DIGITS)
}
