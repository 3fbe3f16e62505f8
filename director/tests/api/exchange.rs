//! The exchange of CI jobs' JWTs for tokens, with an issuer whose keys are served over HTTP.

use crate::fixture::{Answer, Director, request};
use atq_access::exchange::testing::{TestKey, gitlab_claims};
use atq_director::api::Peer;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// An issuer with one key.
struct Issuer {
    key: TestKey,
    url: String,
    answer: Arc<Mutex<Option<String>>>,
}

impl Issuer {
    async fn start() -> Self {
        let key = TestKey::p256();
        let set = json!({"keys": [key.named_jwk("k1", "ES256")]}).to_string();
        let answer = Arc::new(Mutex::new(Some(set)));
        let served = Arc::clone(&answer);
        let keys = move || async move {
            let answer = served.lock().unwrap().clone();
            answer.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let app = Router::new().route("/keys", get(keys));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { key, url, answer }
    }

    /// A Director that accepts jobs of the projects in `shop`.
    async fn director(&self) -> Director {
        Director::with(&self.configuration("auth: tokens")).await
    }

    fn configuration(&self, more: &str) -> String {
        format!(
            "{more}\ntokenExchange:\n- name: gitlab\n  issuer: https://gitlab.example\n  audience: https://atq.example\n  \
             keys: {{url: \"{}\"}}\n  claims: {{project_path: shop/*, ref_protected: true}}\n  role: runner\n  expiresIn: 10m\n",
            self.url
        )
    }

    /// The JWT of a job of GitLab, with a changed claim.
    fn jwt(&self, claim: &str, value: Value) -> String {
        let mut claims = gitlab_claims(now());
        claims[claim] = value;
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": "k1"});
        self.key.sign(&header, &claims)
    }
}

fn post(body: String) -> Request<Body> {
    let mut request = request("POST", "/token/exchange", Body::from(body));
    let json = "application/json".parse().unwrap();
    request.headers_mut().insert("content-type", json);
    request
}

async fn exchange(director: &Director, jwt: &str) -> Answer {
    director.send(post(json!({ "jwt": jwt }).to_string())).await
}

async fn exchange_from(director: &Director, jwt: &str, peer: Peer) -> Answer {
    let mut request = post(json!({ "jwt": jwt }).to_string());
    request.extensions_mut().insert(peer);
    director.send(request).await
}

fn tcp(address: &str) -> Peer {
    Peer::Tcp(format!("{address}:4711").parse().unwrap())
}

/// A request with a token.
async fn with_token(director: &Director, method: &str, path: &str, token: &str) -> StatusCode {
    let mut request = request(method, path, Body::empty());
    let header = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", header);
    director.send(request).await.status
}

#[tokio::test]
async fn a_job_gets_a_token_with_the_role_and_the_lifetime_of_its_rule() {
    let issuer = Issuer::start().await;
    let director = issuer.director().await;
    let answer = exchange(&director, &issuer.jwt("job_id", json!("303"))).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.headers["cache-control"], "no-store");
    let token = answer.json();
    assert_eq!(token["name"], "ci:gitlab:shop/load#303");
    assert_eq!(token["role"], "runner");
    let expires = token["expires"].as_str().unwrap();
    let format = &time::format_description::well_known::Rfc3339;
    let expires = time::OffsetDateTime::parse(expires, format).unwrap();
    let lifetime = expires.unix_timestamp() - now() as i64;
    assert!((590..=600).contains(&lifetime), "{lifetime}");
    let secret = token["token"].as_str().unwrap();
    let read = with_token(&director, "GET", "/task", secret).await;
    assert_eq!(read, StatusCode::OK);
    let stop = with_token(&director, "POST", "/task/none/stop", secret).await;
    assert_eq!(stop, StatusCode::NOT_FOUND);
    let administer = with_token(&director, "POST", "/token", secret).await;
    assert_eq!(administer, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_refusal_names_the_check_that_failed_and_the_senders_own_claim_and_nothing_else() {
    let issuer = Issuer::start().await;
    let director = issuer.director().await;
    for (claim, value, reason) in [
        (
            "project_path",
            json!("mallory/load"),
            "the claim `project_path` does not match; the JWT has `project_path`: `\"mallory/load\"`",
        ),
        (
            "ref_protected",
            json!("false"),
            "the claim `ref_protected` does not match; the JWT has `ref_protected`: `\"false\"`",
        ),
        (
            "aud",
            json!("https://other.example"),
            "its audience does not match; the JWT has `aud`: `\"https://other.example\"`",
        ),
        (
            "iss",
            json!("https://other.example"),
            "its issuer is unknown; the JWT has `iss`: `\"https://other.example\"`",
        ),
        ("exp", json!(now() - 3600), "it has expired"),
    ] {
        let jwt = issuer.jwt(claim, value);
        let answer = exchange(&director, &jwt).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{claim}");
        assert_eq!(answer.kind(), "application/problem+json");
        assert_eq!(answer.json()["code"], "exchange_refused");
        assert_eq!(
            answer.error(),
            format!("no rule accepts this JWT: {reason}")
        );
        assert!(!answer.text().contains("shop"), "{}", answer.text());
    }
    let forged = TestKey::p256().sign(&json!({"alg": "ES256", "kid": "k1"}), &gitlab_claims(now()));
    let answer = exchange(&director, &forged).await;
    let reason = "no rule accepts this JWT: its signature is invalid";
    assert_eq!(answer.error(), reason);
}

#[tokio::test]
async fn other_bodies_are_refused_and_never_repeated() {
    let issuer = Issuer::start().await;
    let director = issuer.director().await;
    let jwt = issuer.jwt("job_id", json!("1"));
    for body in [
        String::new(),
        "{}".to_owned(),
        jwt.clone(),
        format!("\"{jwt}\""),
        json!({"jwt": [jwt]}).to_string(),
        json!({"jwt": jwt, "role": "admin"}).to_string(),
        format!("{{\"jwt\": \"{jwt}\", \"jwt\": \"{jwt}\"}}"),
        json!({"token": jwt}).to_string(),
    ] {
        let answer = director.send(post(body.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(!answer.text().contains(&jwt[..20]), "{}", answer.text());
    }
    let huge = json!({"jwt": "x".repeat(40_000)}).to_string();
    let answer = director.send(post(huge)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let large = exchange(&director, &"x".repeat(17_000)).await;
    assert_eq!(
        large.error(),
        "no rule accepts this JWT: it is larger than 16384 bytes"
    );
}

#[tokio::test]
async fn a_jwt_is_exchanged_again_for_its_own_address_only() {
    let issuer = Issuer::start().await;
    let director = issuer.director().await;
    let jwt = issuer.jwt("job_id", json!("1"));
    let first = exchange_from(&director, &jwt, tcp("10.0.0.1")).await;
    let second = exchange_from(&director, &jwt, tcp("10.0.0.1")).await;
    assert_eq!(second.status, StatusCode::CREATED);
    assert_ne!(first.json()["id"], second.json()["id"]);
    for peer in [tcp("10.0.0.2"), Peer::Socket { uid: 7 }] {
        let stolen = exchange_from(&director, &jwt, peer).await;
        assert_eq!(stolen.status, StatusCode::FORBIDDEN);
        let reason = "this JWT is not exchanged again: it was already used from another address";
        assert_eq!(stolen.error(), reason);
    }
}

#[tokio::test]
async fn an_address_with_many_failures_must_wait_with_further_invalid_jwts() {
    let issuer = Issuer::start().await;
    let director = issuer.director().await;
    let good = issuer.jwt("job_id", json!("1"));
    for _ in 0..30 {
        let refused = exchange_from(&director, "x.y.z", tcp("10.0.0.1")).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let limited = exchange_from(&director, "x.y.z", tcp("10.0.0.1")).await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(limited.json()["code"], "too_many_attempts");
    let wait = limited.headers["retry-after"].to_str().unwrap();
    assert!((1..=60).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    let valid = exchange_from(&director, &good, tcp("10.0.0.1")).await;
    assert_eq!(valid.status, StatusCode::CREATED);
    let other = exchange_from(&director, "x.y.z", tcp("10.0.0.2")).await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_keys_the_client_is_told_to_try_again() {
    let issuer = Issuer::start().await;
    *issuer.answer.lock().unwrap() = None;
    let director = issuer.director().await;
    let answer = exchange(&director, &issuer.jwt("job_id", json!("1"))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["code"], "keys_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn there_is_no_exchange_without_authentication_or_rules() {
    let issuer = Issuer::start().await;
    let off = Director::with(&issuer.configuration("auth: off")).await;
    let no_rule = Director::with("auth: tokens\n").await;
    for (director, reason) in [(off, "authentication is off"), (no_rule, "no rule")] {
        let answer = exchange(&director, &issuer.jwt("job_id", json!("1"))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{reason}");
        assert_eq!(answer.json()["code"], "no_token_exchange");
        assert!(answer.error().contains(reason), "{}", answer.error());
    }
}

#[tokio::test]
async fn the_audit_log_names_the_job_and_has_no_secret() {
    let issuer = Issuer::start().await;
    let director = issuer.director().await;
    let jwt = issuer.jwt("job_id", json!("304"));
    let token = exchange_from(&director, &jwt, tcp("10.0.0.1")).await.json();
    let stolen = exchange_from(&director, &jwt, tcp("10.0.0.2")).await;
    assert_eq!(stolen.status, StatusCode::FORBIDDEN);
    director.access.audit().flush().await;
    let log = std::fs::read_to_string(director.dir.path().join("data/audit.log")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert_eq!(lines[0]["outcome"], "changed");
    assert_eq!(lines[0]["name"], "ci:gitlab:shop/load#304");
    assert_eq!(lines[0]["path"], "/token/exchange");
    assert_eq!(lines[0]["on"], token["id"]);
    assert_eq!(lines[0]["peer"], "10.0.0.1:4711");
    assert_eq!(lines[1]["outcome"], "refused");
    assert_eq!(lines[1]["code"], "exchange_refused");
    assert_eq!(lines[1]["peer"], "10.0.0.2:4711");
    assert!(!log.contains(token["token"].as_str().unwrap()));
    assert!(!log.contains(jwt.split('.').nth(2).unwrap()));
}
