//! Tests of reports and verdicts.

use crate::fixture::{Director, IMAGE, payload};
use atq_engine::Role;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Samples at a time at which the master runs.
fn jtl(millis: &[u64]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let head = "timeStamp,elapsed,label,responseCode,success\n".to_owned();
    let rows = millis
        .iter()
        .map(|elapsed| format!("{},{elapsed},Login <b>,200,true\n", now.as_millis() + 500));
    std::iter::once(head).chain(rows).collect()
}

/// A Director whose masters write these samples and end.
pub async fn with_results(millis: &[u64]) -> Director {
    let director = Director::new().await;
    let master = director.swarm.image(IMAGE).in_role(Role::Master);
    master
        .writes_result("results.jtl", jtl(millis).as_bytes())
        .exits(0)
        .after(Duration::from_millis(800));
    director
}

pub async fn run(director: &Director, name: &str, criteria: Value) -> Value {
    let mut task = payload(name);
    task["criteria"] = criteria;
    let answer = director.put(&task).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    director.until(name, |task| task["step"] == "done").await
}

#[tokio::test]
async fn a_task_has_a_verdict_and_its_report_the_figures() {
    let director = with_results(&[100, 200, 300]).await;
    let task = run(
        &director,
        "judged",
        json!(["max<250ms", "p50 of \"Login <b>\" <= 200ms"]),
    )
    .await;
    assert_eq!(task["status"], "finished");
    assert_eq!(task["verdict"], "fail", "{task}");
    assert_eq!(
        task["judgement"]["criteria"],
        json!([
            {"criterion": "max < 250ms", "holds": false, "seen": "300 ms", "wanted": "< 250 ms"},
            {"criterion": "p50 of \"Login <b>\" <= 200ms", "holds": true, "seen": "200 ms", "wanted": "<= 200 ms"},
        ])
    );
    let report = director.get("/api/task/judged/report").await;
    assert_eq!(report.kind(), "application/json");
    let report = report.json();
    assert_eq!(report["total"]["samples"], 3);
    assert_eq!(report["judgement"], task["judgement"]);
    assert_eq!(report["sources"][0]["path"], "master.1/results.jtl");
}

#[tokio::test]
async fn browsers_get_a_page_and_programs_json() {
    let director = with_results(&[100]).await;
    run(&director, "paged", json!(["errors = 0"])).await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let html = "text/html; charset=utf-8";
    for (path, accept, kind) in [
        ("/task/paged/report", browser, html),
        ("/task/paged/report", "*/*", "application/json"),
        (
            "/task/paged/report",
            "application/json, text/html;q=0.5",
            "application/json",
        ),
        ("/task/paged/report?format=html", "application/json", html),
        (
            "/task/paged/report?format=json",
            browser,
            "application/json",
        ),
    ] {
        let answer = director.get_as(path, accept).await;
        assert_eq!(
            (answer.status, answer.kind()),
            (StatusCode::OK, kind),
            "{path} {accept}"
        );
    }
    let page = director.get_as("/task/paged/report", browser).await.text();
    assert!(
        page.contains("Login &lt;b&gt;") && !page.contains("Login <b>"),
        "{page}"
    );
}

#[tokio::test]
async fn a_run_is_compared_with_another() {
    let director = with_results(&[100, 300]).await;
    run(&director, "one", json!([])).await;
    run(&director, "two", json!([])).await;
    let report = director.get("/task/two/report?baseline=one").await.json();
    assert_eq!(report["comparison"]["baseline"], "one");
    assert_eq!(report["comparison"]["total"]["baseline"]["samples"], 2);
    let nobody = director.get("/task/two/report?baseline=nobody").await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    assert!(nobody.error().contains("`nobody`"), "{}", nobody.text());
    let mut waiting = payload("waiting");
    waiting["delay"] = json!(3600);
    director.put(&waiting).await;
    let unfinished = director.get("/task/two/report?baseline=waiting").await;
    assert_eq!(unfinished.status, StatusCode::NOT_FOUND);
    assert_eq!(unfinished.json()["code"], "no_report");
    let early = director.get("/task/waiting/report").await;
    assert_eq!(early.status, StatusCode::CONFLICT);
    assert_eq!(early.json()["code"], "not_over");
    assert_eq!(early.kind(), "application/problem+json");
}

#[tokio::test]
async fn invalid_requests_are_refused() {
    let director = Director::new().await;
    let missing = director.get("/task/missing/report").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    for query in ["format=pdf", "baseline=a%20b", "formt=html"] {
        let answer = director.get(&format!("/task/missing/report?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn a_run_without_result_files_has_a_report_with_its_verdict() {
    let director = Director::new().await;
    director.swarm.image(IMAGE).in_role(Role::Master).exits(0);
    let task = run(&director, "silent", json!(["errors < 1%"])).await;
    assert_eq!(task["verdict"], "invalid");
    let report = director.get("/task/silent/report").await.json();
    assert_eq!(report["total"]["samples"], 0);
    assert_eq!(report["judgement"]["verdict"], "invalid");
    assert!(
        report["notes"][0]
            .as_str()
            .unwrap()
            .contains("/atq/results"),
        "{report}"
    );
}
