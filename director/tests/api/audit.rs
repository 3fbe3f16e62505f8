//! The audit log: which requests it contains, and that it contains no secret.

use crate::fixture::{Director, payload, request};
use atq_access::Role;
use atq_director::api::Peer;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

fn fields<'a>(line: &'a Value, names: &[&str]) -> Vec<&'a Value> {
    names.iter().map(|name| &line[*name]).collect()
}

#[tokio::test]
async fn each_change_and_each_refusal_is_a_line() {
    let director = Director::with("auth: tokens\nsocket: /run/atq.sock\n").await;
    let runner = director.token_until("jenkins", Role::Runner, None).await;
    let text = runner.reveal();
    let put = request("PUT", "/task", Body::from(payload("one").to_string()));
    director.send_as(&text, put).await;
    // Neither reading nor a fault is a change.
    let show = request("GET", "/task/one", Body::empty());
    director.send_as(&text, show).await;
    let faulty = request("PUT", "/task", Body::from("{}"));
    director.send_as(&text, faulty).await;
    let mut stop = request("POST", "/api/task/one/stop?force=true", Body::empty());
    stop.extensions_mut().insert(Peer::Socket { uid: 7 });
    director.send(stop).await;
    let swarm = request("GET", "/swarm", Body::empty());
    director.send_as(&text, swarm).await;
    director.get("/task/one/logs?tail=1").await;
    let mut foreign = request("GET", "/task", Body::empty());
    let headers = foreign.headers_mut();
    headers.insert("host", HeaderValue::from_static("evil.example"));
    let address = "127.0.0.1:4000".parse().unwrap();
    foreign.extensions_mut().insert(Peer::Tcp(address));
    director.send(foreign).await;

    let lines = director.audit().await;
    let names = ["outcome", "name", "via", "method", "path", "status", "code"];
    let seen: Vec<_> = lines
        .iter()
        .map(|line| json!(fields(line, &names)))
        .collect();
    assert_eq!(
        json!(seen),
        json!([
            ["changed", "jenkins", "token", "PUT", "/task", 200, null],
            [
                "changed",
                "uid:7",
                "socket",
                "POST",
                "/task/one/stop",
                202,
                null
            ],
            [
                "refused",
                "jenkins",
                "token",
                "GET",
                "/swarm",
                403,
                "forbidden"
            ],
            [
                "refused",
                null,
                null,
                "GET",
                "/task/one/logs",
                401,
                "unauthenticated"
            ],
            ["refused", null, null, "GET", "/task", 421, "foreign_host"],
        ])
    );
    let names = ["on", "role", "token", "peer"];
    let id = runner.id().as_str();
    assert_eq!(
        json!(fields(&lines[0], &names)),
        json!(["one", "runner", id, "unknown"])
    );
    assert_eq!(lines[1]["peer"], "socket");
    assert_eq!(lines[4]["peer"], "127.0.0.1:4000");
}

#[tokio::test]
async fn a_renewed_lease_is_no_line_and_a_disclosed_join_token_is_one() {
    let director = Director::new().await;
    let put = "/task?lease=60s";
    let body = Body::from(payload("leased").to_string());
    director.send(request("PUT", put, body)).await;
    let answer = director.call("POST", "/task/leased/lease").await;
    assert_eq!(answer.status, StatusCode::OK);
    director.get("/swarm").await;
    let lines = director.audit().await;
    let outcomes: Vec<_> = lines.iter().map(|line| &line["outcome"]).collect();
    assert_eq!(outcomes, ["changed", "disclosed"]);
    assert_eq!(lines[1]["name"], "anonymous");
}

#[tokio::test]
async fn no_line_contains_a_secret() {
    let director = Director::with("auth: tokens\n").await;
    let admin = director.token("ana", Role::Admin).await;
    let secret = admin.splitn(3, '_').last().unwrap().to_owned();
    let body = json!({"name": "ci", "role": "runner"}).to_string();
    let create = request("POST", "/token", Body::from(body));
    let created = director.send_as(&admin, create).await.json();
    let created = created["token"]
        .as_str()
        .unwrap()
        .splitn(3, '_')
        .last()
        .unwrap()
        .to_owned();
    let put = request("PUT", "/task", Body::from(payload("one").to_string()));
    director.send_as(&admin, put).await;
    for path in [
        format!("/task?token={admin}"),
        format!("/task/{admin}"),
        format!("/api/token/{admin}/"),
    ] {
        director.call("DELETE", &path).await;
        director.get(&path).await;
    }
    director
        .send_as(&format!("{admin}x"), request("GET", "/task", Body::empty()))
        .await;
    let lines = json!(director.audit().await).to_string();
    for secret in [&secret, &created, crate::fixture::SECRET] {
        assert!(!lines.contains(secret), "{lines}");
    }
}
