//! Tests of the terms of a run besides its definition.

use crate::fixture::{Answer, Director, IMAGE, payload, request};
use atq_engine::Role;
use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

async fn send(director: &Director, method: &str, path: &str, key: &str, body: Body) -> Answer {
    let mut request = request(method, path, body);
    if !key.is_empty() {
        let key = key.parse().unwrap();
        request.headers_mut().insert("idempotency-key", key);
    }
    director.send(request).await
}

async fn put(director: &Director, query: &str, key: &str, payload: &Value) -> Answer {
    let body = Body::from(payload.to_string());
    send(director, "PUT", &format!("/api/task/{query}"), key, body).await
}

#[tokio::test]
async fn the_response_to_a_key_has_who_started_the_run() {
    let director = Director::new().await;
    let task = payload("shared-run");
    let first = put(&director, "", "\"pipeline-1\"", &task).await;
    assert_eq!(
        first.json(),
        json!({"id": "shared-run", "status": "initializing", "startedBy": "this"})
    );
    let again = put(&director, "", "pipeline-1", &task).await;
    assert_eq!(again.json()["startedBy"], "this");
    let second = put(&director, "", "pipeline-2", &task).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_eq!(second.json()["startedBy"], "other");
    // Clients of 2018 get the response of 2018.
    let plain = put(&director, "", "", &task).await.json();
    assert_eq!(plain.as_object().unwrap().len(), 2, "{plain}");
    for (method, path) in [
        ("POST", "/task/shared-run/stop"),
        ("DELETE", "/task/shared-run"),
    ] {
        let refused = send(&director, method, path, "pipeline-2", Body::empty()).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{method}");
        assert_eq!(refused.json()["code"], "started_by_other");
    }
    let path = "/task/shared-run/stop";
    let stopped = send(&director, "POST", path, "pipeline-1", Body::empty()).await;
    assert_eq!(stopped.status, StatusCode::ACCEPTED);
    for bad in ["two words", "\"\"", &"x".repeat(300)] {
        let answer = put(&director, "", bad, &task).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(
            answer.error().contains("idempotency-key"),
            "{}",
            answer.error()
        );
    }
}

#[tokio::test]
async fn limits_are_parsed_returned_and_renewed() {
    let director = Director::new().await;
    let answer = put(
        &director,
        "?timeout=1h30m&lease=60s",
        "",
        &payload("limited"),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let task = director.get("/task/limited").await.json();
    assert_eq!(task["timeoutMs"], 5_400_000);
    assert!(task["deadlineAt"].is_string());
    assert_eq!(task["lease"]["durationMs"], 60_000);
    let events = director.get("/task/limited/events").await.json();
    let queued = &events["events"][0]["data"];
    assert_eq!(
        (&queued["timeoutMs"], &queued["leaseMs"]),
        (&json!(5_400_000), &json!(60_000))
    );
    let renewed = director.call("POST", "/api/task/limited/lease").await;
    assert_eq!(renewed.status, StatusCode::OK);
    assert!(
        renewed.json()["expiresAt"].is_string(),
        "{}",
        renewed.text()
    );
    put(&director, "?timeout=90", "", &payload("free")).await;
    assert_eq!(director.get("/task/free").await.json()["timeoutMs"], 90_000);
    let none = director.call("POST", "/task/free/lease").await;
    assert_eq!(
        (none.status, none.json()["code"].as_str()),
        (StatusCode::CONFLICT, Some("no_lease"))
    );
    let missing = director.call("POST", "/task/nobody/lease").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    for query in [
        "?timeout=0s",
        "?timeout=soon",
        "?lease=2days",
        "?timout=30m",
        "?timeout=31days",
    ] {
        let answer = put(&director, query, "", &payload("wrong")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(
        director.get("/task/wrong").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_response_of_get_can_be_sent_back() {
    let director = Director::new().await;
    director.swarm.image(IMAGE).in_role(Role::Master).exits(0);
    let mut task = payload("mirror");
    for role in ["master", "worker"] {
        task[role]["environment"] = json!([]);
    }
    director.put(&task).await;
    let shown = director.get("/task/mirror").await.json();
    let again = director.put(&shown).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text());
    let ended = director
        .until("mirror", |task| task["step"] == "done")
        .await;
    assert_eq!(
        director.call("DELETE", "/task/mirror").await.status,
        StatusCode::NO_CONTENT
    );
    let anew = director.put(&ended).await;
    assert_eq!(anew.status, StatusCode::OK, "{}", anew.text());
    let manifest = director.get("/task/mirror/manifest").await.json();
    let same = director.put(&manifest["definition"]).await;
    assert_eq!(same.status, StatusCode::OK, "{}", same.text());
}

#[tokio::test]
async fn the_configuration_limits_the_grace_period() {
    let director = Director::with("limits: {stopGracePeriod: 60}\n").await;
    let mut task = payload("patient");
    task["master"]["stopGracePeriod"] = json!(61);
    let refused = director.put(&task).await;
    assert_eq!(refused.status, StatusCode::EXPECTATION_FAILED);
    assert_eq!(
        refused.json()["errors"],
        json!([{
            "field": "master.stopGracePeriod",
            "message": "is 61; expected a whole number from 0 to 60"
        }])
    );
    task["master"]["stopGracePeriod"] = json!(60);
    assert_eq!(director.put(&task).await.status, StatusCode::OK);
}
