//! The resource `/token`.

use crate::fixture::{Answer, Director, payload, request};
use atq_access::{Role, Token};
use atq_director::api::Peer;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

fn create(body: &Value) -> Request<Body> {
    request("POST", "/token", Body::from(body.to_string()))
}

fn list() -> Request<Body> {
    request("GET", "/token", Body::empty())
}

fn revoke(id: &str) -> Request<Body> {
    request("DELETE", &format!("/token/{id}"), Body::empty())
}

fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let list = answer.json();
    let tokens = list["tokens"].as_array().unwrap().iter();
    tokens
        .map(|token| token["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_created_token_works_until_it_is_revoked_and_is_shown_once() {
    let director = Director::with("auth: tokens\n").await;
    let admin = director.token("ana", Role::Admin).await;
    let body = json!({"name": "jenkins", "role": "runner"});
    let answer = director.send_as(&admin, create(&body)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let created = answer.json();
    let (id, token) = (
        created["id"].as_str().unwrap(),
        created["token"].as_str().unwrap(),
    );
    assert!(token.starts_with(&format!("atq_{id}_")));
    assert!(created["expires"].as_str().unwrap().ends_with('Z'));
    let put = request("PUT", "/task", Body::from(payload("one").to_string()));
    assert_eq!(director.send_as(token, put).await.status, StatusCode::OK);
    let listed = director.send_as(&admin, list()).await;
    assert!(!listed.text().contains(token.splitn(3, '_').last().unwrap()));
    let listed = listed.json();
    let mut entries = listed["tokens"].as_array().unwrap().iter();
    let entry = entries.find(|token| token["id"] == created["id"]).unwrap();
    assert_eq!(entry["role"], "runner");
    assert!(entry["lastUsed"].is_string() && entry.get("revoked").is_none());
    for _ in 0..2 {
        let answer = director.send_as(&admin, revoke(id)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }
    let answer = director.send_as(token, list()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let listed = director.send_as(&admin, list()).await.json();
    let mut entries = listed["tokens"].as_array().unwrap().iter();
    let entry = entries.find(|token| token["id"] == created["id"]).unwrap();
    assert!(entry["revoked"].is_string());
}

#[tokio::test]
async fn a_revoked_token_ends_the_streams_of_its_client() {
    let director = Director::with("auth: tokens\n").await;
    let admin = director.token("ana", Role::Admin).await;
    let put = request("PUT", "/task", Body::from(payload("live").to_string()));
    director.send_as(&admin, put).await;
    for path in ["/task/live/events", "/task/live/logs?follow=true"] {
        let viewer = director.token("eve", Role::Viewer).await;
        let id = Token::parse(&viewer).unwrap().id().clone();
        let mut follow = request("GET", path, Body::empty());
        let kind = HeaderValue::from_static("text/event-stream");
        follow.headers_mut().insert(header::ACCEPT, kind);
        let revoke = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            director.access.tokens().revoke(&id).await.unwrap();
        };
        let both = async { tokio::join!(director.send_as(&viewer, follow), revoke) };
        let (answer, ()) = timeout(Duration::from_secs(30), both).await.expect(path);
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
    let task = director
        .send_as(&admin, request("GET", "/task/live", Body::empty()))
        .await;
    assert!(task.json().get("finishedAt").is_none(), "the run goes on");
}

#[tokio::test]
async fn the_lifetime_can_be_chosen() {
    let director = Director::with("auth: tokens\n").await;
    let admin = director.token("ana", Role::Admin).await;
    let never = json!({"name": "x", "role": "viewer", "expiresIn": 0});
    let answer = director.send_as(&admin, create(&never)).await.json();
    assert_eq!(answer.get("expires"), None);
    let short = json!({"name": "x", "role": "viewer", "expiresIn": 1});
    let answer = director.send_as(&admin, create(&short)).await.json();
    let token = answer["token"].as_str().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let answer = director.send_as(token, list()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn invalid_requests_are_refused() {
    let director = Director::with("auth: tokens\n").await;
    let admin = director.token("ana", Role::Admin).await;
    for (body, part) in [
        (json!({"name": "x"}), "missing field `role`"),
        (
            json!({"name": "x", "role": "root"}),
            "`role`: unknown variant `root`, expected one of `viewer`, `runner`, `admin`",
        ),
        (
            json!({"name": "x", "role": "viewer", "expiresIn": "30d"}),
            "`expiresIn`: invalid type: string \"30d\", expected a whole number of seconds",
        ),
        (json!({"name": "uid:0", "role": "viewer"}), "`name`"),
        (json!({"name": "anonymous", "role": "viewer"}), "`name`"),
        (
            json!({"name": "x", "role": "viewer", "expiresIn": 1e12 as u64}),
            "`expiresIn`",
        ),
        (json!({"name": "x", "role": "viewer", "more": 1}), "more"),
        (json!([]), ""),
    ] {
        let answer = director.send_as(&admin, create(&body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.error().contains(part), "{body}: {}", answer.error());
    }
    let unknown = director.send_as(&admin, revoke("0000000000")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.json()["code"], "token_not_found");
    assert_eq!(names(&director.send_as(&admin, list()).await), ["ana"]);
}

#[tokio::test]
async fn other_clients_list_and_revoke_their_own_tokens_only() {
    let director = Director::with("auth: tokens\n").await;
    let admin = director.token_until("ana", Role::Admin, None).await;
    let stronger = director.token_until("ci", Role::Admin, None).await;
    let own = director.token_until("ci", Role::Runner, None).await;
    let text = own.reveal();
    assert_eq!(names(&director.send_as(&text, list()).await), ["ci"]);
    for other in [&admin, &stronger] {
        let answer = director.send_as(&text, revoke(other.id().as_str())).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let answer = director.send_as(&other.reveal(), list()).await;
        assert_eq!(names(&answer).len(), 3);
    }
    let body = json!({"name": "ci", "role": "viewer"});
    let answer = director.send_as(&text, create(&body)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = director.send_as(&text, revoke(own.id().as_str())).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let answer = director.send_as(&text, list()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

/// Such a token would still be valid after `auth: tokens` is set.
#[tokio::test]
async fn tokens_are_created_at_the_sockets_only_while_authentication_is_off() {
    let director = Director::with("socket: /run/atq.sock\n").await;
    let body = json!({"name": "x", "role": "admin"});
    let answer = director.send(create(&body)).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.json()["code"], "auth_off");
    let answer = director.send(revoke("0000000000")).await;
    assert_eq!(answer.json()["code"], "auth_off");
    for peer in [Peer::Socket { uid: 1 }, Peer::Control { uid: 1 }] {
        let mut local = create(&body);
        local.extensions_mut().insert(peer);
        let answer = director.send(local).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    }
}
