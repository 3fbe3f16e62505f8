#![allow(clippy::unwrap_used)]

use super::*;
use atq_definition::examples::{BUNDLE, parse};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Content and mode of every file below `dir`, by its path.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (String, bool)> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(dir).unwrap().to_path_buf();
            let content = std::fs::read_to_string(&path).unwrap();
            found.insert(name, (content, is_executable(&path)));
        }
    }
    found
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_path: &Path) -> bool {
    false
}

fn source(example: Example) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/examples")
        .join(example.contents().0)
}

#[test]
fn the_written_files_match_the_folder() {
    for example in Example::value_variants() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new/example");
        check_empty(&dir).unwrap();
        write(example.contents().1, &dir).unwrap();
        assert_eq!(tree(&dir), tree(&source(*example)));
    }
}

#[test]
fn every_definition_is_valid() {
    for example in Example::value_variants() {
        let text = std::fs::read_to_string(source(*example).join("task.json")).unwrap();
        let mut payload: serde_json::Value = serde_json::from_str(&text).unwrap();
        // As `atq run --bundle` does.
        payload["worker"]["fileid"] = BUNDLE.into();
        let spec = parse(&payload);
        assert!(spec.is_ok(), "{}: {spec:?}", example.contents().0);
        let name = format!("example-{}", example.contents().0);
        assert_eq!(payload["name"], *name, "the README calls it so");
        // The same check fails for an invalid definition.
        payload["worker"]["replicas"] = "many".into();
        assert!(parse(&payload).is_err());
    }
}

#[test]
fn a_non_empty_directory_is_rejected_and_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    check_empty(dir.path()).unwrap();
    let mine = dir.path().join("task.json");
    std::fs::write(&mine, "mine").unwrap();
    let refused = check_empty(dir.path()).unwrap_err();
    assert_eq!(refused.exit(), Exit::Usage);
    assert!(refused.to_string().contains("is not empty"), "{refused}");
    assert_eq!(check_empty(&mine).unwrap_err().exit(), Exit::Usage);
    assert_eq!(std::fs::read_to_string(&mine).unwrap(), "mine");
}

#[test]
fn the_next_steps_are_valid_shell_commands() {
    let plain = next_steps(Example::Plain, Path::new("plain"));
    assert_eq!(
        plain[1..],
        ["  cd plain", "  atq run task.json --bundle bundle"]
    );
    let jmeter = next_steps(Example::Jmeter, Path::new("my 'test'"));
    assert_eq!(jmeter[1], r"  cd 'my '\''test'\'''");
    assert!(jmeter[2].contains("README.md"), "{jmeter:?}");
    assert_eq!(quoted(Path::new("-x")), "'./-x'");
}
