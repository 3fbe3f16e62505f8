//! The tiers of tests build the workspace with and without `atq-tests`. They share their output only if this package
//! enables no feature of a dependency that the others do not.

use std::collections::BTreeSet;
use std::process::Command;

/// Packages of the workspace and its dependencies with their enabled features.
fn features(more: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--workspace",
            "--prefix",
            "none",
        ])
        .args(["--edges", "normal,build,dev", "--format", "{p} {f}"])
        .args(more)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)"));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_package_of_the_swarm_tests_enables_no_feature_of_a_dependency() {
    let without = features(&["--exclude", "atq-tests"]);
    let with = features(&[]);
    assert!(without.len() > 200, "only {} packages", without.len());
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = without.iter().map(|line| name(line)).collect();
    let changed: Vec<&String> = with
        .difference(&without)
        .filter(|line| names.contains(&name(line)))
        .collect();
    assert!(
        changed.is_empty(),
        "enable these features in the dependencies of the workspace: {changed:#?}"
    );
}
