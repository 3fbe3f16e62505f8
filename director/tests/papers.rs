//! The papers and samples beside the code say what the code does.
#![allow(missing_docs, clippy::unwrap_used)]

use atq_director::config::Config;
use atq_task::event::FailureCode;
use atq_task::spec::{Surroundings, TaskSpec};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("`{path}`: {e}"))
}

/// The first column of the table below a heading, without its backticks.
fn first_column(text: &str, heading: &str) -> BTreeSet<String> {
    let (_, section) = text.split_once(heading).unwrap();
    section
        .lines()
        .skip_while(|line| !line.starts_with("| ---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('`').nth(1).map(str::to_owned))
        .collect()
}

/// Names in backticks in a message of serde: "unknown variant `x`, expected one of `a`, `b`".
fn expected_names(message: &str) -> BTreeSet<String> {
    let (_, names) = message.split_once("expected one of ").unwrap();
    names
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The keys of the complete sample, commented out or not, with the section that they are in.
fn keys_of_the_example() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut section = "";
    let example = Config::example();
    for line in example.lines() {
        let indented = line.starts_with("  ");
        let text = line.strip_prefix("# ").unwrap_or(line);
        let Some((key, value)) = text.trim_start().split_once(':') else {
            continue;
        };
        let is_key = key.chars().all(|c| c.is_ascii_alphanumeric());
        // Below `images` and `registryAuth` there are an item's keys, and sentences have no value that begins at once.
        if !is_key || (text.starts_with(' ') && !indented) {
            continue;
        }
        match (indented, value.trim().is_empty()) {
            (true, _) => keys.insert(format!("{section}.{key}")),
            (false, true) if ["images", "registryAuth"].contains(&key) => {
                keys.insert(key.to_owned())
            }
            (false, true) => {
                section = key;
                true
            }
            (false, false) => keys.insert(key.to_owned()),
        };
    }
    keys
}

#[test]
fn every_failure_code_is_explained() {
    let unknown = serde_json::from_str::<FailureCode>("\"?\"").unwrap_err();
    let codes = expected_names(&unknown.to_string());
    assert!(codes.len() > 10, "{codes:?}");
    assert_eq!(
        first_column(&read("README.md"), "## When a task fails"),
        codes
    );
}

#[test]
fn every_key_of_the_configuration_is_explained() {
    let keys = keys_of_the_example();
    assert!(
        keys.contains("limits.entries") && keys.contains("dockerHost"),
        "{keys:?}"
    );
    assert_eq!(first_column(&read("README.md"), "## Configuration"), keys);
}

/// Takes what the papers name.
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
fn definitions_in_the_papers_are_taken() {
    let mut texts = vec![
        read("deploy/demo/task.json"),
        read("tests/data/seed-task.json"),
    ];
    for paper in ["README.md", "images/jmeter/README.md"] {
        let text = read(paper);
        let blocks = text.split("```json\n").skip(1);
        let blocks = blocks.filter_map(|block| block.split_once("```"));
        texts.extend(blocks.map(|(block, _)| block.to_owned()));
    }
    let mut taken = 0;
    for text in texts {
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        if value.get("worker").is_some() {
            TaskSpec::parse(&value, &Anything)
                .unwrap_or_else(|faults| panic!("{faults:?}: {text}"));
            taken += 1;
        }
    }
    assert_eq!(taken, 6);
}

#[test]
fn the_sample_of_the_stack_is_valid_and_its_paths_are_mounted() {
    let config = Config::parse(&read("deploy/controller-config.yaml"), |_| None).unwrap();
    let stack = read("deploy/stack.yml");
    let bundles = format!("${{ATQ_BUNDLES:-{}}}", config.glusterpath.display());
    assert_eq!(
        stack.matches(&bundles).count(),
        3,
        "variable, source and target: {bundles}"
    );
    let data = format!("target: {}\n", config.datadir.display());
    assert!(stack.contains(&data), "{data}");
    assert!(stack.contains(&format!("ATQ_PORT:-{}", config.port)));
}

#[test]
fn every_verb_of_the_papers_is_one_of_the_makefile() {
    let makefile = read("Makefile");
    for paper in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "Jenkinsfile",
    ] {
        let text = read(paper);
        for after in text.split("make ").skip(1) {
            let verb: String = after
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect();
            let in_code = after[verb.len()..].starts_with(['`', '\n', ' ', '\'']);
            // Prose uses the word too: "make a network".
            let is_prose = ["a", "it", "tasks", "the"].contains(&verb.as_str());
            assert!(
                is_prose || !in_code || makefile.contains(&format!("\n{verb}: ")),
                "{paper} names `make {verb}`"
            );
        }
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let (_, dependencies) = manifest.split_once("[workspace.dependencies]\n").unwrap();
    let names: Vec<&str> = dependencies
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let reasons = read("ARCHITECTURE.md");
    let missing: Vec<&&str> = names
        .iter()
        .filter(|name| !reasons.contains(&format!("`{name}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md gives no reason for {missing:?}"
    );
}
