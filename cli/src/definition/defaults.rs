//! Assumptions about the Director for validation without it.

use atq_definition::spec::{Fault, Surroundings, most_similar, nearest};
use serde_json::Value;
use std::collections::BTreeSet;

/// Digits of a bundle's id.
const ID_DIGITS: usize = 32;
/// Default limit of replicas.
const MAX_REPLICAS: u64 = 1000;
/// Maximum number of files of a bundle that are listed.
const MAX_FILES: usize = 10;

/// A Director with default configuration that has every bundle with every file, except for the given bundle.
#[derive(Default)]
pub(super) struct DefaultDirector<'a> {
    /// The files of the bundle with the placeholder id, if they are known.
    pub bundle: Option<&'a BTreeSet<String>>,
}

impl DefaultDirector<'_> {
    fn files(&self, id: &str) -> Option<&BTreeSet<String>> {
        self.bundle.filter(|_| id == placeholder_id())
    }
}

impl Surroundings for DefaultDirector<'_> {
    fn max_replicas(&self) -> u64 {
        MAX_REPLICAS
    }

    fn has_bundle(&self, id: &str) -> bool {
        id.len() == ID_DIGITS && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    fn has_file(&self, id: &str, path: &str) -> bool {
        self.files(id).is_none_or(|files| files.contains(path))
    }

    fn files_hint(&self, id: &str, path: &str) -> String {
        let files = self.files(id).into_iter().flatten();
        let files: Vec<&str> = files.map(String::as_str).collect();
        match most_similar(path, &files) {
            None if files.len() > MAX_FILES => format!("the bundle has {} files", files.len()),
            _ => nearest(path, &files),
        }
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
