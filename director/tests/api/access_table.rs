//! Which role may use which route: every cell of the table, over HTTP. The routes are those that the router describes.

use crate::fixture::{Answer, Director, request};
use atq_access::{Permission, Role};
use atq_director::api::openapi::document;
use axum::body::Body;
use axum::http::{StatusCode, header};
use serde_json::Value;
use std::collections::BTreeMap;

use Permission::{Administer, Public, Read, Run};

/// The permission of each route.
const TABLE: [(&str, Permission); 27] = [
    ("DELETE /databind/{id}", Run),
    ("DELETE /task/{id}", Run),
    ("DELETE /token/{id}", Read),
    ("GET /databind/list", Read),
    ("GET /databind/{id}", Read),
    ("GET /healthz", Public),
    ("GET /metrics", Read),
    ("GET /monitoring/ping", Public),
    ("GET /readyz", Public),
    ("GET /session", Read),
    ("GET /swarm", Administer),
    ("GET /task", Read),
    ("GET /task/{id}", Read),
    ("GET /task/{id}/container-metrics", Read),
    ("GET /task/{id}/events", Read),
    ("GET /task/{id}/live", Read),
    ("GET /task/{id}/logs", Read),
    ("GET /task/{id}/manifest", Read),
    ("GET /task/{id}/report", Read),
    ("GET /task/{id}/results", Read),
    ("GET /token", Read),
    ("POST /databind/upload", Run),
    ("POST /task/{id}/lease", Run),
    ("POST /task/{id}/stop", Run),
    ("POST /token", Administer),
    ("POST /token/exchange", Public),
    ("PUT /task", Run),
];

/// The operations of the description.
fn operations() -> BTreeMap<String, Value> {
    let document = serde_json::to_value(document()).unwrap();
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let route = format!("{} {path}", method.to_uppercase());
            operations.insert(route, operation.clone());
        }
    }
    operations
}

#[test]
fn every_route_of_the_router_has_a_row_and_the_described_permission() {
    let described: BTreeMap<String, String> = operations()
        .into_iter()
        .map(|(route, operation)| {
            (
                route,
                operation["x-permission"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let expected: BTreeMap<String, String> = TABLE
        .into_iter()
        .map(|(route, permission)| (route.to_owned(), permission.as_str().to_owned()))
        .collect();
    assert_eq!(described, expected);
}

#[test]
fn the_description_has_the_credentials_and_refusals_of_each_route() {
    for (route, operation) in operations() {
        let security = operation["security"].as_array().unwrap();
        let is_public = operation["x-permission"] == "public";
        assert_eq!(security.is_empty(), is_public, "{route}");
        for status in ["401", "403"] {
            let response = &operation["responses"][status];
            // A public route may have refusals of its own.
            assert!(is_public || !response.is_null(), "{route} {status}");
            // As for the other errors of the route.
            if let Some(other) = operation["responses"].get("404").filter(|_| !is_public) {
                let media = |response: &Value| -> Vec<String> {
                    let content = response["content"].as_object().unwrap();
                    content.keys().cloned().collect()
                };
                assert_eq!(media(response), media(other), "{route} {status}");
            }
        }
    }
}

/// A caller, and its role if it is identified.
type Caller = (&'static str, Option<Role>, Option<String>);

async fn callers(director: &Director) -> Vec<Caller> {
    let revoked = director.token_until("gone", Role::Admin, None).await;
    director.access.tokens().revoke(revoked.id()).await.unwrap();
    let expired = director.token_until("late", Role::Admin, Some(1)).await;
    let mut callers = vec![
        ("no token", None, None),
        ("expired token", None, Some(expired.reveal())),
        ("revoked token", None, Some(revoked.reveal())),
        ("malformed token", None, Some("atq_0_x".to_owned())),
    ];
    for role in Role::ALL {
        let token = director.token(role.as_str(), role).await;
        callers.push((role.as_str(), Some(role), Some(token)));
    }
    callers
}

async fn ask(director: &Director, method: &str, path: &str, token: Option<&String>) -> Answer {
    let request = request(method, path, Body::empty());
    match token {
        Some(token) => director.send_as(token, request).await,
        None => director.send(request).await,
    }
}

fn check(answer: &Answer, permission: Permission, role: Option<Role>, what: &str) {
    let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    match role {
        _ if permission == Public => assert!(!refusals.contains(&answer.status), "{what}"),
        None => {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
            let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.starts_with("Bearer realm=\"atq\""), "{what}");
            assert_eq!(answer.json()["code"], "unauthenticated", "{what}");
        }
        Some(role) if !role.may(permission) => {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
            assert_eq!(answer.json()["code"], "forbidden", "{what}");
            let needed = Role::needed_for(permission);
            for part in [format!("`{needed}`"), format!("`{role}`")] {
                assert!(answer.error().contains(&part), "{what}: {}", answer.error());
            }
        }
        Some(_) => assert!(
            !refusals.contains(&answer.status),
            "{what}: {}",
            answer.text()
        ),
    }
}

#[tokio::test]
async fn every_role_may_use_exactly_the_routes_of_the_table() {
    let director = Director::with("auth: tokens\n").await;
    let callers = callers(&director).await;
    let mut cells = 0;
    for (route, permission) in TABLE {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{id}", "nothing");
        for (name, role, token) in &callers {
            for path in [path.clone(), format!("/api{path}/")] {
                let answer = ask(&director, method, &path, token.as_ref()).await;
                check(
                    &answer,
                    permission,
                    *role,
                    &format!("{method} {path}: {name}"),
                );
                cells += 1;
            }
        }
    }
    assert_eq!(cells, TABLE.len() * 7 * 2);
}

/// HEAD is served by the handlers of GET.
#[tokio::test]
async fn a_head_request_requires_the_same_as_get() {
    let director = Director::with("auth: tokens\n").await;
    for (route, permission) in TABLE {
        let Some(path) = route.strip_prefix("GET ") else {
            continue;
        };
        let path = path.replace("{id}", "nothing");
        let answer = ask(&director, "HEAD", &path, None).await;
        let is_refused = answer.status == StatusCode::UNAUTHORIZED;
        assert_eq!(is_refused, permission != Public, "{path}");
    }
}

#[tokio::test]
async fn everybody_may_do_everything_while_authentication_is_off() {
    let director = Director::new().await;
    for (route, _) in TABLE {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{id}", "nothing");
        let answer = ask(&director, method, &path, None).await;
        let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        assert!(!refusals.contains(&answer.status), "{route}");
    }
}

#[tokio::test]
async fn the_description_and_its_pages_are_public() {
    let director = Director::with("auth: tokens\n").await;
    for path in [
        "/api-docs/openapi.json",
        "/swagger-ui/",
        "/swagger-ui/swagger-ui.css",
        "/api/monitoring/ping",
    ] {
        assert_eq!(director.get(path).await.status, StatusCode::OK, "{path}");
    }
    let answer = director.get("/nowhere").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
