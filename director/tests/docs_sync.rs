//! The documentation and the sample files match the code.
#![allow(missing_docs, clippy::unwrap_used)]

use atq_director::config::Config;
use atq_task::event::FailureCode;
use atq_task::state::Step;
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

/// All keys of the complete example, also those that are commented out, with the prefix of their section.
fn keys_of_the_example() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut section = "";
    let example = Config::example();
    for line in example.lines() {
        let text = line.strip_prefix("# ").unwrap_or(line);
        let Some((key, value)) = text.trim_start().split_once(':') else {
            continue;
        };
        let is_key = key.chars().all(|c| c.is_ascii_alphanumeric());
        let indented = text.starts_with(' ');
        // Skips the keys of the items of `images`, `registryAuth` and `tokenExchange`, and comments that are sentences.
        if !is_key || (indented && section.is_empty()) {
            continue;
        }
        match (indented, value.trim().is_empty()) {
            (true, _) => keys.insert(format!("{section}.{key}")),
            (false, true) if ["images", "registryAuth", "tokenExchange"].contains(&key) => {
                section = "";
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
        first_column(&read("docs/reference/failures.md"), "## Codes"),
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
    let explained = first_column(&read("docs/reference/configuration.md"), "## Keys");
    assert_eq!(explained, keys);
}

#[test]
fn every_step_is_explained() {
    let steps: BTreeSet<String> = Step::ALL.map(|step| step.as_str().to_owned()).into();
    let explained = first_column(&read("docs/explanation/runs.md"), "## Steps");
    assert_eq!(explained, steps);
}

#[test]
fn the_samples_of_the_stack_are_valid_and_their_paths_are_mounted() {
    let stack = read("deploy/stack.yml");
    for sample in ["controller-config.yaml", "controller-config-tls.yaml"] {
        let config = Config::parse(&read(&format!("deploy/{sample}")), |_| None).unwrap();
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
}

#[test]
fn every_make_target_in_the_docs_exists() {
    let makefile = read("Makefile");
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Jenkinsfile",
        "docs/how-to/install.md",
        "docs/reference/performance.md",
        "docs/tutorial/ci.md",
        "docs/tutorial/jmeter.md",
    ] {
        let text = read(page);
        for after in text.split("make ").skip(1) {
            let target: String = after
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect();
            let in_code = after[target.len()..].starts_with(['`', '\n', ' ', '\'']);
            // "make" also occurs in prose: "make a network".
            let is_prose = ["a", "it", "tasks", "the"].contains(&target.as_str());
            assert!(
                is_prose || !in_code || makefile.contains(&format!("\n{target}: ")),
                "{page} names `make {target}`"
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
