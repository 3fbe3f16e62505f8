//! Headers that restrict what browsers do with answers.

use crate::fixture::{Answer, Director, request};
use crate::reports;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use serde_json::json;

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let mut values = answer.headers.get_all(name).iter();
    let value = values.next().map_or("", |value| value.to_str().unwrap());
    assert_eq!(values.next(), None, "`{name}` is given twice");
    value
}

/// What holds for every answer.
fn check(answer: &Answer, what: &str) {
    assert_eq!(
        header(answer, "x-content-type-options"),
        "nosniff",
        "{what}"
    );
    assert_eq!(
        header(answer, "cross-origin-resource-policy"),
        "same-origin",
        "{what}"
    );
    assert_eq!(header(answer, "referrer-policy"), "same-origin", "{what}");
    assert_eq!(header(answer, "cache-control"), "no-store", "{what}");
    let policy = header(answer, "content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; "),
        "{what}: {policy}"
    );
    for directive in ["base-uri 'none'", "form-action ", "frame-ancestors 'none'"] {
        assert!(policy.contains(directive), "{what}: {policy}");
    }
    for word in ["unsafe", "*", "http", "data: ;"] {
        assert!(!policy.contains(word), "{what}: {policy}");
    }
    let is_page = answer.kind().starts_with("text/html");
    let opener = header(answer, "cross-origin-opener-policy");
    assert_eq!(opener == "same-origin", is_page, "{what}");
}

#[tokio::test]
async fn every_answer_has_the_headers_for_browsers() {
    let director = reports::with_results(&[100]).await;
    reports::run(&director, "shown", json!([])).await;
    let mut pages = 0;
    for path in [
        "/monitoring/ping",
        "/api/monitoring/ping",
        "/healthz",
        "/readyz",
        "/swarm",
        "/task",
        "/api/task/",
        "/task/shown",
        "/task/shown/logs",
        "/task/shown/events",
        "/task/shown/results",
        "/task/shown/report",
        "/task/shown/report?format=html",
        "/task/shown/manifest",
        "/task/missing",
        "/databind/list",
        "/api-docs/openapi.json",
        "/swagger-ui",
        "/swagger-ui/",
        "/swagger-ui/swagger-ui-bundle.js",
        "/swagger-ui/missing.js",
        "/nowhere",
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let answer = director.call(method, path).await;
            check(&answer, &format!("{method} {path}"));
            pages += usize::from(method == "GET" && answer.kind().starts_with("text/html"));
        }
    }
    assert_eq!(pages, 2);
    let mut foreign = request("GET", "/task", Body::empty());
    let host = HeaderValue::from_static("evil.example");
    foreign.headers_mut().insert("host", host);
    let answer = director.send(foreign).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    check(&answer, "a foreign host");
}

#[tokio::test]
async fn the_header_of_a_report_has_the_policy_of_its_page() {
    let director = reports::with_results(&[100]).await;
    reports::run(&director, "shown", json!([])).await;
    let page = director.get("/task/shown/report?format=html").await;
    let policy = header(&page, "content-security-policy");
    let (of_page, rest) = policy.split_once("; frame-ancestors").unwrap();
    assert_eq!(rest, " 'none'");
    assert_eq!(of_page, atq_report::page::policy());
    assert_eq!(header(&page, "vary"), "accept");
}

/// The policy of Swagger UI allows scripts in files only.
#[tokio::test]
async fn the_pages_of_swagger_ui_have_no_inline_script() {
    let director = Director::new().await;
    let page = director.get("/swagger-ui/").await;
    let policy = header(&page, "content-security-policy");
    assert!(
        policy.contains("script-src 'self'; style-src 'self' 'sha256-"),
        "{policy}"
    );
    let text = page.text();
    assert_eq!(
        text.matches("<script").count(),
        text.matches("<script src=\"./").count()
    );
    assert!(!text.contains("<style") && !text.contains("style=") && !text.contains(" on"));
}
