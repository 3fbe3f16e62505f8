//! Checks the structure of the workspace. The tables define the allowed dependencies; each has a test that finds a violation.
#![allow(clippy::unwrap_used)]

mod checker;
mod crates;
mod cycles;
mod features;
mod imports;
mod words;

use crate::checker::code::Code;
use crate::checker::workspace::{Root, Workspace};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn workspace() -> Workspace {
    Workspace::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap()
}

/// The code of the workspace, parsed once for all tests.
fn code() -> &'static Code {
    static CODE: LazyLock<Code> = LazyLock::new(|| Code::of(&workspace()).unwrap());
    assert!(
        CODE.modules.len() > 200,
        "only {} modules",
        CODE.modules.len()
    );
    &CODE
}

/// A crate with these files; the first one is its root.
fn sample(name: &str, files: &[(&str, &str)]) -> Code {
    let mut code = Code::default();
    let root = Root {
        module: name.to_owned(),
        file: PathBuf::from(files[0].0),
    };
    let files: BTreeMap<&Path, &str> = files
        .iter()
        .map(|(file, text)| (Path::new(*file), *text))
        .collect();
    code.add(&root, &|file| {
        files.get(file).map(|text| (*text).to_owned())
    })
    .unwrap();
    code
}

fn check(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_module_without_a_file_is_an_error() {
    let root = Root {
        module: "a".to_owned(),
        file: PathBuf::from("src/lib.rs"),
    };
    let read = |file: &Path| (file == root.file).then(|| "mod b;".to_owned());
    let error = Code::default().add(&root, &read).unwrap_err();
    assert_eq!(
        error.to_string(),
        "src/lib.rs declares `mod b`, which has no file"
    );
}
