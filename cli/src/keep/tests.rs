#![allow(clippy::unwrap_used)]
use super::*;
use crate::canned::{Answer, Script, director, task};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

const ALL: [&str; 9] = [
    "events.json",
    "junit.xml",
    "logs/master.1.log",
    "logs/worker.2.log",
    "manifest.json",
    "report.html",
    "report.json",
    "results/master.1/r.csv",
    "task.json",
];

fn log(service: &str, replica: u32, text: &str) -> String {
    json!({"at": "2026-01-31T12:00:00Z", "service": service, "replica": replica, "stream": "stdout", "text": text})
        .to_string()
        + "\n"
}

fn zip() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file("master.1/r.csv", zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(b"a,b").unwrap();
    zip.finish().unwrap().into_inner()
}

/// A Director that has all, or nothing but the task.
async fn stage(has_all: bool) -> Context {
    let routes = Router::new().route("/task/load", get(|| async { Json(task(json!({}))) }));
    if !has_all {
        return director(routes.fallback(|| async { Answer::Refused(404) })).await;
    }
    let first = log("master", 1, "one") + &log("worker", 2, "ready");
    let logs = Script::new([
        Answer::Broken(first.clone()),
        Answer::Whole(first + &log("master", 1, "two")),
    ]);
    let report = |headers: HeaderMap| async move { headers["accept"].to_str().unwrap().to_owned() };
    let routes = routes
        .route("/task/load/results", get(|| async { zip() }))
        .route("/task/load/report", get(report))
        .route("/task/load/manifest", get(|| async { "m" }))
        .route("/task/load/events", get(|| async { "e" }))
        .route("/task/load/logs", get(|| async move { logs.next() }));
    director(routes).await
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => found.push(path.strip_prefix(dir).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn all_that_is_there_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b");
    let context = stage(true).await;
    keep(&context, "load", &dir).await.unwrap();
    assert_eq!(files(&dir), ALL);
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(read("results/master.1/r.csv"), "a,b");
    assert_eq!(read("report.json"), "application/json");
    assert_eq!(read("report.html"), "text/html");
    let master = "2026-01-31T12:00:00Z one\n2026-01-31T12:00:00Z two\n";
    assert_eq!(read("logs/master.1.log"), master);
    let kept: Task = serde_json::from_str(&read("task.json")).unwrap();
    assert_eq!(kept.id, "load");
}

#[tokio::test]
async fn what_an_earlier_run_left_is_replaced_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    for old in ["results/worker.9", "logs"] {
        fs::create_dir_all(dir.path().join(old)).unwrap();
    }
    let context = stage(true).await;
    // Not of this program: it stays.
    fs::write(dir.path().join("results/worker.9/old"), "").unwrap();
    keep(&context, "load", dir.path()).await.unwrap();
    assert!(dir.path().join("results/worker.9/old").exists());
    fs::write(dir.path().join("mine"), "").unwrap();
    keep(&context, "load", dir.path()).await.unwrap();
    let mut expected = ALL.to_vec();
    expected.insert(5, "mine");
    assert_eq!(files(dir.path()), expected);
}

#[tokio::test]
async fn a_definition_is_not_taken_for_results() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task.json");
    let definition = r#"{"name": "load", "master": {}, "worker": {}}"#;
    fs::write(&path, definition).unwrap();
    fs::create_dir_all(dir.path().join("logs")).unwrap();
    fs::write(dir.path().join("logs/mine"), "").unwrap();
    let context = stage(true).await;
    let trouble = keep(&context, "load", dir.path()).await.unwrap_err();
    assert_eq!(trouble.exit(), crate::exit::Exit::Usage);
    assert_eq!(fs::read_to_string(&path).unwrap(), definition);
    assert!(dir.path().join("logs/mine").exists());
}

#[tokio::test]
async fn what_is_missing_is_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    keep(&stage(false).await, "load", dir.path()).await.unwrap();
    assert_eq!(files(dir.path()), ["junit.xml", "task.json"]);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let trouble = keep(&stage(true).await, "load", &file.join("x"))
        .await
        .unwrap_err();
    assert!(
        trouble.to_string().contains("cannot be written"),
        "{trouble}"
    );
}
