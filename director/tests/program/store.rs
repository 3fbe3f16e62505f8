//! `atq-director store`, and damaged stores.

use super::{Home, assert_stderr};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[test]
fn tasks_are_exported_and_imported() {
    let home = Home::with_tasks(&["one", "two"]);
    let output = home.run(&["store", "check"]);
    assert_stderr(&output, 0, &[]);
    assert_eq!(output.stdout, b"2 tasks, 0 with a problem\n");

    let output = home.run(&["store", "export", "out.ndjson"]);
    assert_stderr(&output, 0, &["2 tasks exported, 0 skipped"]);
    let file = fs::metadata(home.path("out.ndjson")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let exported = fs::read(home.path("out.ndjson")).unwrap();
    assert_eq!(home.run(&["store", "export"]).stdout, exported);
    let again = home.run(&["store", "export", "out.ndjson"]);
    assert_stderr(&again, 1, &["cannot create `out.ndjson`"]);

    let again = home.run(&["store", "import", "out.ndjson"]);
    assert_stderr(&again, 1, &["the store is not empty: it has 2 tasks"]);
    fs::remove_dir_all(home.path("data")).unwrap();
    let output = home.run(&["store", "import", "out.ndjson"]);
    assert_stderr(&output, 0, &[]);
    assert_eq!(output.stdout, b"2 tasks imported\n");
    assert_eq!(home.run(&["store", "export"]).stdout, exported);
}

#[test]
fn a_single_task_is_counted_in_the_singular() {
    let home = Home::with_tasks(&["one"]);
    let output = home.run(&["store", "check"]);
    assert_eq!(output.stdout, b"1 task, 0 with a problem\n");
    let output = home.run(&["store", "export", "out.ndjson"]);
    assert_stderr(&output, 0, &["1 task exported, 0 skipped"]);
    let again = home.run(&["store", "import", "out.ndjson"]);
    assert_stderr(&again, 1, &["it has 1 task, and tasks can be imported"]);
}

#[test]
fn a_check_creates_no_store_and_an_invalid_line_no_task() {
    let home = Home::new();
    for command in ["check", "export"] {
        let output = home.run(&["store", command]);
        assert_stderr(&output, 1, &["there is no store in `"]);
        assert!(!home.path("data").exists());
    }
    let lines = format!("{}\n{{}}\n", Home::line("one"));
    fs::write(home.path("bad.ndjson"), lines).unwrap();
    let output = home.run(&["store", "import", "bad.ndjson"]);
    assert_stderr(&output, 1, &["line 2: ", "nothing was imported"]);
    let output = home.run(&["store", "check"]);
    assert_eq!(output.stdout, b"0 tasks, 0 with a problem\n");
    let output = home.run(&["store", "import", "none.ndjson"]);
    assert_stderr(&output, 1, &["cannot read `none.ndjson`"]);
    fs::write(home.path("controller-config.yaml"), "port: x\n").unwrap();
    assert_stderr(&home.run(&["store", "check"]), 2, &["`port`"]);
}

#[test]
fn a_store_in_use_is_not_opened() {
    let home = Home::with_tasks(&["one"]);
    let _serving = home.serve();
    for args in [
        &["store", "check"][..],
        &["store", "export"],
        &["store", "import", "tasks.ndjson"],
    ] {
        assert_stderr(&home.run(args), 1, &["is in use by another process"]);
    }
    let id = home.path("data/director-id");
    fs::remove_file(&id).unwrap();
    assert_stderr(&home.run(&[]), 1, &["is in use by another process"]);
    assert!(!id.exists(), "a second Director touches nothing");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

/// Overwrites a part of each of sled's files, at a fraction of its used length.
fn damage(dir: &Path, share: f64) {
    for path in files(dir) {
        let mut content = fs::read(&path).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let at = (used as f64 * share) as usize;
        let end = content.len().min(at + 32);
        content[at..end].fill(0xa5);
        fs::write(path, content).unwrap();
    }
}

#[test]
fn the_error_of_a_damaged_store_contains_the_remedy() {
    for share in [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0] {
        let home = Home::with_tasks(&["one", "two", "three"]);
        // A second opening writes sled's snapshot.
        home.run(&["store", "check"]);
        let state = home.path("data/state");
        damage(&state, share);
        let words = [
            "cannot open the store in `",
            "`atq-director store export FILE`",
            "--adopt-orphans=keep",
        ];
        assert_stderr(&home.run(&[]), 1, &words);
        assert_stderr(&home.run(&["store", "check"]), 1, &words);
        assert!(!home.path("data/director-id").exists());

        let output = home.run(&["store", "export", "out.ndjson"]);
        assert_stderr(&output, 1, &["cannot open the store in `"]);
        assert!(
            files(&home.path("data")).is_empty(),
            "the copy is removed: {share}"
        );
        // Applies the remedy: moves the store away and imports the export.
        fs::rename(&state, home.path("data/state.broken")).unwrap();
        if home.path("out.ndjson").exists() {
            // The export must not leave an empty file.
            assert!(fs::metadata(home.path("out.ndjson")).unwrap().len() > 0);
            let output = home.run(&["store", "import", "out.ndjson"]);
            assert_stderr(&output, 0, &[]);
        }
        drop(home.serve());
    }
}

#[test]
fn a_damaged_snapshot_loses_no_task() {
    let home = Home::with_tasks(&["one", "two"]);
    let exported = home.run(&["store", "export"]).stdout;
    for path in files(&home.path("data/state")) {
        if path.file_name().unwrap() != "db" {
            fs::write(path, "?").unwrap();
        }
    }
    let output = home.run(&["store", "export", "out.ndjson"]);
    assert_stderr(&output, 1, &["2 tasks exported, 0 skipped"]);
    assert_eq!(fs::read(home.path("out.ndjson")).unwrap(), exported);
}
