#![allow(clippy::unwrap_used)]
use super::*;
use crate::exit::Exit;
use crate::tests::{Answer, director, task};
use axum::Router;
use serde_json::json;

fn outputs<'a>(junit: &'a Path, gitlab: &'a Path, results: &'a Path) -> Outputs<'a> {
    let wanted = |path: &'a Path| (path != Path::new("")).then_some(path);
    Outputs {
        junit: wanted(junit),
        gitlab: wanted(gitlab),
        results: wanted(results),
    }
}

#[test]
fn unwritable_outputs_are_found_before_the_test() {
    let temp = tempfile::tempdir().unwrap();
    let none = Path::new("");
    let (file, dir, new) = (
        temp.path().join("file"),
        temp.path().join("dir"),
        temp.path().join("new"),
    );
    fs::write(&file, "").unwrap();
    fs::create_dir(&dir).unwrap();
    let below = file.join("x");
    let (report, x) = (new.join("report.json"), temp.path().join("./x"));
    let same = temp.path().join("x");
    for (outputs, option) in [
        (outputs(none, none, &file), "--results"),
        (outputs(&dir, none, none), "--junit"),
        (outputs(&below, none, none), "--junit"),
        (
            outputs(none, Path::new("/proc/none/x.json"), none),
            "--gitlab",
        ),
        (outputs(none, &report, &new), "`--gitlab` and `--results`"),
        (outputs(&report, none, &new), "`--junit` and `--results`"),
        (outputs(&x, &same, none), "`--junit` and `--gitlab`"),
        (outputs(&new, none, &new), "--junit"),
    ] {
        let error = outputs.probe().unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains(option), "{option}: {error}");
    }
    let (junit, gitlab) = (new.join("junit.xml"), new.join("load.json"));
    outputs(&junit, &gitlab, &new).probe().unwrap();
}

#[tokio::test]
async fn each_output_is_written_independently_of_the_others() {
    let context = director(Router::new().fallback(|| async { Answer::Refused(404) })).await;
    let task: Task = serde_json::from_value(task(json!({}))).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let (junit, results) = (temp.path().join("dir"), temp.path().join("out"));
    fs::create_dir(&junit).unwrap();
    let errors = outputs(&junit, &junit, &results)
        .write(&context, &task)
        .await;
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(results.join("task.json").exists() && results.join("junit.xml").exists());
}

#[tokio::test]
async fn junit_may_name_the_file_within_the_results() {
    let context = director(Router::new().fallback(|| async { Answer::Refused(404) })).await;
    let task: Task = serde_json::from_value(task(json!({}))).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let (dir, junit) = (temp.path().join("out"), temp.path().join("out/junit.xml"));
    let both = outputs(&junit, Path::new(""), &dir);
    for _ in 0..2 {
        both.probe().unwrap();
        assert_eq!(both.write(&context, &task).await.len(), 0);
    }
    // Without `--junit`, the file is one of the results and is listed in `.atq-files`.
    let alone = outputs(Path::new(""), Path::new(""), &dir);
    alone.probe().unwrap();
    assert_eq!(alone.write(&context, &task).await.len(), 0);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
}
