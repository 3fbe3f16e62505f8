//! Damaged files of sled cause an error message or a usable store, never a panic.

use super::*;
use std::path::PathBuf;

/// A closed store with `tasks` tasks, with or without sled's snapshot.
async fn closed(dir: &Path, tasks: u64, with_snapshot: bool) {
    {
        let store = Store::open(dir).unwrap();
        for number in 0..tasks {
            fill(&store, &spec(&format!("task-{number}")), 6).await;
        }
    }
    if with_snapshot {
        drop(reopen(dir));
    }
    drop(reopen_lock(dir));
}

/// Waits until sled has released the files.
fn reopen_lock(dir: &Path) -> File {
    let file = File::open(dir.join("db")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while file.try_lock().is_err() {
        assert!(Instant::now() < deadline, "the store is still open");
        std::thread::yield_now();
    }
    file
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let mut content = std::fs::read(path).unwrap();
    let end = content.len().min(at + bytes.len());
    content[at..end].copy_from_slice(&bytes[..end - at]);
    std::fs::write(path, content).unwrap();
}

/// Runs all reads of a start, and an export.
async fn use_all(dir: &Path) -> Result<usize, StoreError> {
    let store = Store::open(dir)?;
    store.repair()?;
    let known = store.known()?.len();
    store.export(&mut Vec::new()).unwrap();
    store.probe().await?;
    Ok(known)
}

#[tokio::test]
async fn damage_anywhere_in_the_files_causes_an_error_or_loses_only_tasks() {
    let (mut refused, mut opened) = (0, 0);
    for with_snapshot in [false, true] {
        let original = tempfile::tempdir().unwrap();
        closed(original.path(), 4, with_snapshot).await;
        for path in files(original.path()) {
            let content = std::fs::read(&path).unwrap();
            let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
            for part in 0..24 {
                for bytes in [[0u8; 48], [0xa5; 48]] {
                    let dir = tempfile::tempdir().unwrap();
                    copy(original.path(), dir.path());
                    let damaged = dir.path().join(path.file_name().unwrap());
                    overwrite(&damaged, used * part / 24, &bytes);
                    match use_all(dir.path()).await {
                        Ok(known) => {
                            assert!(known <= 4);
                            opened += 1;
                        }
                        Err(error) => {
                            let text = error.to_string();
                            assert!(matches!(error, StoreError::Open { .. }), "{text}");
                            assert!(text.contains("store export FILE"), "{text}");
                            refused += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{refused} damaged stores were refused, {opened} were opened");
    assert!(refused > 50 && opened > 10, "{refused} {opened}");
}

#[tokio::test]
async fn a_copy_saves_the_tasks_before_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    closed(&state, 4, true).await;
    let before: Vec<_> = files(&state);
    for name in ["conf", "snap"] {
        let path = before.iter().find(|path| {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            file.starts_with(name)
        });
        overwrite(path.unwrap(), 20, &[0xff; 16]);
    }
    assert!(matches!(Store::open(&state), Err(StoreError::Open { .. })));
    let rescued = Rescued::open(&state).unwrap();
    assert_eq!(rescued.store.all().unwrap().len(), 4);
    drop(rescued);
    assert_eq!(files(&state), before);
    assert!(matches!(Store::open(&state), Err(StoreError::Open { .. })));
}
