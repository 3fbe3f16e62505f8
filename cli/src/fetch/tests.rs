#![allow(clippy::unwrap_used)]
use super::*;
use crate::tests::{Answer, Script, director};
use axum::Router;
use axum::routing::get;

async fn saved(answers: Vec<Answer>, to: &Path) -> Result<(), CliError> {
    let script = Script::new(answers);
    let routes = Router::new().route("/file", get(|| async move { script.next() }));
    let context = director(routes).await;
    save(&context.director, "file", "application/zip", to).await
}

#[tokio::test]
async fn an_interrupted_download_is_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("file");
    let answers = vec![
        Answer::Broken("a longer part".to_owned()),
        Answer::Refused(503),
        Answer::Whole("whole".to_owned()),
    ];
    saved(answers, &to).await.unwrap();
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "whole");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_rejected_download_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("file");
    std::fs::write(&to, "before").unwrap();
    let error = saved(vec![Answer::Refused(404)], &to).await.unwrap_err();
    assert_eq!(error.to_string(), "there is none");
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "before");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_unwritable_file_is_named() {
    let error = saved(
        vec![Answer::Whole(String::new())],
        Path::new("/proc/none/file"),
    )
    .await;
    let message = error.unwrap_err().to_string();
    assert!(
        message.starts_with("`/proc/none/file` cannot be written: "),
        "{message}"
    );
}
