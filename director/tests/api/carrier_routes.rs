//! Tests of the routes for carriers.

use crate::fixture::{Answer, Director, payload, request, zip};
use atq_engine_swarm::plan::carrier_token;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use serde_json::json;

async fn fetch(director: &Director, path: &str, token: &str, node: &str) -> Answer {
    let mut request = request("GET", path, Body::empty());
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers.insert("x-atq-node", node.parse().unwrap());
    director.send(request).await
}

#[tokio::test]
async fn only_the_carriers_of_a_run_get_its_bundle_during_delivery() {
    let director = Director::with("directorId: any").await;
    // Its carriers start and keep running.
    director.swarm.image("atq-carrier:dev");
    let content = zip(&[("plan.jmx", "<x/>")]);
    let id = director.upload("plan.zip", &content).await.json()["id"].clone();
    let id = id.as_str().unwrap();
    let mut payload = payload("carried");
    payload["worker"]["fileid"] = json!(id);
    assert_eq!(director.put(&payload).await.status, 200);
    director
        .until("carried", |task| task["step"] == "delivery")
        .await;
    let state = director.state("carried").await;
    let (run, token) = (&state.run, carrier_token(&state.token));
    let path = format!("/carrier/{run}/bundle/{id}");
    // The step has started; its carriers follow a moment later.
    while director.swarm.plans().is_empty() {
        tokio::task::yield_now().await;
    }

    let code = |answer: &Answer| (answer.status.as_u16(), answer.json()["code"].clone());
    for wrong in ["", "x", &state.token, &token[1..]] {
        let answer = fetch(&director, &path, wrong, "node-1").await;
        assert_eq!(code(&answer), (401, json!("no_carrier")), "{wrong}");
        assert!(answer.headers.contains_key("x-atq-now"));
    }
    assert_eq!(code(&director.get(&path).await), (401, json!("no_carrier")));
    let elsewhere = format!("/carrier/aaaaaa/bundle/{id}");
    let answer = fetch(&director, &elsewhere, &token, "node-1").await;
    assert_eq!(code(&answer), (401, json!("no_carrier")));
    let another = format!("/carrier/{run}/bundle/{}", "0".repeat(32));
    let answer = fetch(&director, &another, &token, "node-1").await;
    assert_eq!(code(&answer), (403, json!("not_delivered")));

    for node in ["node-1", "node-2"] {
        let answer = fetch(&director, &path, &token, node).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, content);
        assert_eq!(answer.headers[CONTENT_LENGTH], content.len().to_string());
        assert!(answer.headers.contains_key("x-atq-now"));
    }
    let answer = fetch(&director, &path, &token, "node-1").await;
    assert_eq!(code(&answer), (403, json!("delivered_already")));

    director.call("POST", "/task/carried/stop").await;
    director
        .until("carried", |task| task["status"] == "stopped")
        .await;
    let answer = fetch(&director, &path, &token, "node-3").await;
    assert!([401, 403].contains(&answer.status.as_u16()));
}

#[tokio::test]
async fn a_director_returns_its_id_and_the_routes_are_not_documented() {
    let director = Director::with("directorId: somebody").await;
    let answer = director.get("/carrier/ready").await;
    assert_eq!(answer.text(), "atq-director somebody\n");
    let now: u64 = answer.headers["x-atq-now"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(now > 1_700_000_000_000);
    let document = director.get("/api-docs/openapi.json").await;
    assert!(!document.text().contains("/carrier/"));
}

#[tokio::test]
async fn an_oversized_usage_report_is_refused() {
    let director = Director::new().await;
    let body = Body::from(vec![b' '; 2 << 20]);
    let mut request = request("POST", "/carrier/aaaaaa/load", body);
    let kind = "application/json".parse().unwrap();
    request.headers_mut().insert("content-type", kind);
    let answer = director.send(request).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
}
