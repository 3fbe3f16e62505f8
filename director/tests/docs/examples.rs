//! Definitions and configurations in the documentation and in sample files are valid.

use crate::pages::{blocks, read};
use atq_director::config::Config;
use atq_task::spec::{Surroundings, TaskSpec};
use serde_json::Value;

/// Accepts every image and bundle.
struct Anything;

impl Surroundings for Anything {
    fn max_replicas(&self) -> u64 {
        1000
    }

    fn has_bundle(&self, _: &str) -> bool {
        true
    }

    fn required_variables(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

#[test]
fn definitions_in_examples_are_valid() {
    let (mut parsed, mut definitions) = (0, 0);
    for (page, text) in blocks("json") {
        let mut value: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{page}: {e}: {text}"));
        parsed += 1;
        if value.get("worker").is_some() {
            add_bundle(&mut value);
            TaskSpec::parse(&value, &Anything)
                .unwrap_or_else(|faults| panic!("{page}: {faults:?}: {text}"));
            definitions += 1;
        }
    }
    assert!(parsed >= 10 && definitions >= 6, "{parsed} {definitions}");
}

/// Names a bundle in services without one, like `atq run --bundle`.
fn add_bundle(definition: &mut Value) {
    for service in ["worker", "master"] {
        if let Some(fields) = definition[service].as_object_mut() {
            fields.entry("fileid").or_insert("0".repeat(32).into());
        }
    }
}

#[test]
fn definitions_in_sample_files_are_valid() {
    for sample in ["deploy/demo/task.json", "tests/data/seed-task.json"] {
        let value: Value = serde_json::from_str(&read(sample)).unwrap();
        TaskSpec::parse(&value, &Anything).unwrap_or_else(|faults| panic!("{sample}: {faults:?}"));
    }
}

#[test]
fn configurations_in_examples_are_valid() {
    let (mut parsed, mut configurations) = (0, 0);
    for (page, text) in blocks("yaml") {
        serde_saphyr::from_str::<Value>(&text).unwrap_or_else(|e| panic!("{page}: {e}: {text}"));
        parsed += 1;
        if text.starts_with("port:") {
            Config::parse(&text, |_| None).unwrap_or_else(|e| panic!("{page}: {e}: {text}"));
            configurations += 1;
        }
        if text.starts_with("tokenExchange:") {
            let whole = format!("port: 8080\nglusterpath: /x\n{text}");
            Config::parse(&whole, |_| None).unwrap_or_else(|e| panic!("{page}: {e}: {text}"));
        }
    }
    assert!(
        parsed >= 4 && configurations >= 2,
        "{parsed} {configurations}"
    );
}
