#![allow(clippy::unwrap_used)]
use super::*;
use crate::tests::{Answer, Script, director, task};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

const ALL: [&str; 10] = [
    ".atq-files",
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
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("master.1/r.csv", zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(b"a,b").unwrap();
    zip.finish().unwrap().into_inner()
}

/// A Director with all outputs, or with the task only.
async fn fixture(has_all: bool) -> Context {
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

/// Saves everything without an error.
async fn save_ok(context: &Context, dir: &Path) {
    let errors = save(context, &load(), dir, &[]).await;
    assert!(errors.is_empty(), "{errors:?}");
}

fn load() -> Task {
    serde_json::from_value(task(json!({}))).unwrap()
}

#[tokio::test]
async fn all_outputs_are_saved() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b");
    let context = fixture(true).await;
    check_usable(&dir, &[]).unwrap();
    save_ok(&context, &dir).await;
    assert_eq!(files(&dir), ALL);
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(read("results/master.1/r.csv"), "a,b");
    assert_eq!(read("report.json"), "application/json");
    assert_eq!(read("report.html"), "text/html");
    let master = "2026-01-31T12:00:00Z one\n2026-01-31T12:00:00Z two\n";
    assert_eq!(read("logs/master.1.log"), master);
    let saved: Task = serde_json::from_str(&read("task.json")).unwrap();
    assert_eq!(saved.id, "load");
}

#[tokio::test]
async fn only_files_of_an_earlier_run_are_removed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let theirs = ["results/baseline.csv", "logs/app.log", "mine"];
    for name in theirs {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    // An earlier run had more replicas.
    let mut earlier = Owned::open(dir).unwrap();
    for name in ["results/worker.9/old", "logs/worker.9.log"] {
        let (name, draft) = earlier.begin(&super::name(name).unwrap()).unwrap();
        earlier.put(&name, draft).unwrap();
    }
    let context = fixture(true).await;
    for _ in 0..2 {
        check_usable(dir, &[]).unwrap();
        save_ok(&context, dir).await;
        let mut expected = [&ALL[..], &theirs].concat();
        expected.sort_unstable();
        assert_eq!(files(dir), expected);
        assert!(!dir.join("results/worker.9").exists());
        for name in theirs {
            assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), "mine");
        }
    }
}

#[tokio::test]
async fn conflicting_files_are_reported_before_the_test() {
    for (name, is_dir) in [
        ("task.json", false),
        ("report.html", false),
        ("junit.xml", true),
        ("results", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        match is_dir {
            true => fs::create_dir(&path).unwrap(),
            false => fs::write(&path, "mine").unwrap(),
        }
        let error = check_usable(dir.path(), &[]).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Usage);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn conflicting_files_created_during_the_test_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let context = fixture(true).await;
    check_usable(dir, &[]).unwrap();
    fs::write(dir.join("task.json"), "mine").unwrap();
    fs::write(dir.join("results"), "mine").unwrap();
    save_ok(&context, dir).await;
    assert_eq!(fs::read_to_string(dir.join("task.json")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(dir.join("results")).unwrap(), "mine");
    assert!(dir.join("task.json.atq-1").exists());
    assert!(dir.join("results.atq-1/master.1/r.csv").exists());
}

#[tokio::test]
async fn missing_outputs_are_no_error() {
    let dir = tempfile::tempdir().unwrap();
    save_ok(&fixture(false).await, dir.path()).await;
    assert_eq!(files(dir.path()), [".atq-files", "junit.xml", "task.json"]);
}

#[tokio::test]
async fn an_unwritable_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let errors = save(&fixture(true).await, &load(), &file.join("x"), &[]).await;
    let error = errors.first().unwrap().to_string();
    assert!(error.contains("cannot be written"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_download_does_not_stop_the_others() {
    let gateway = || async { axum::http::StatusCode::BAD_GATEWAY };
    let not_found = || async { (axum::http::StatusCode::NOT_FOUND, "<h1>404</h1>") };
    let routes = Router::new()
        .route("/task/load/results", get(gateway))
        .route("/task/load/report", get(not_found))
        .route("/task/load/manifest", get(|| async { "m" }))
        .route("/task/load/events", get(|| async { "e" }))
        .route("/task/load/logs", get(|| async { "" }));
    let dir = tempfile::tempdir().unwrap();
    let errors = save(&director(routes).await, &load(), dir.path(), &[]).await;
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(
        texts
            .iter()
            .all(|error| error.contains("not as a Director")),
        "{texts:?}"
    );
    let expected = [
        ".atq-files",
        "events.json",
        "junit.xml",
        "manifest.json",
        "task.json",
    ];
    assert_eq!(files(dir.path()), expected);
}
