//! How clients are identified: tokens, Unix sockets, and none while authentication is off.

use crate::fixture::{Director, payload, request};
use atq_access::Role;
use atq_director::api::Peer;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use serde_json::Value;

fn list() -> Request<Body> {
    request("GET", "/task", Body::empty())
}

fn with(mut request: Request<Body>, headers: &[(&'static str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    request
}

fn from(mut request: Request<Body>, peer: Peer) -> Request<Body> {
    request.extensions_mut().insert(peer);
    request
}

#[tokio::test]
async fn a_token_is_accepted_in_either_header() {
    let director = Director::with("auth: tokens\n").await;
    let token = director.token("ci", Role::Viewer).await;
    let bearer = format!("Bearer {token}");
    for headers in [
        vec![("authorization", bearer.as_str())],
        vec![("x-atq-token", token.as_str())],
        vec![("authorization", bearer.as_str()), ("x-atq-token", &token)],
        // The password of a proxy.
        vec![("authorization", "Basic YTpi"), ("x-atq-token", &token)],
    ] {
        let answer = director.send(with(list(), &headers)).await;
        assert_eq!(answer.status, StatusCode::OK, "{headers:?}");
    }
}

#[tokio::test]
async fn different_tokens_in_one_request_are_refused() {
    let director = Director::with("auth: tokens\n").await;
    let admin = director.token("ana", Role::Admin).await;
    let viewer = director.token("ci", Role::Viewer).await;
    let headers = [
        ("authorization", format!("Bearer {admin}")),
        ("x-atq-token", viewer),
    ];
    let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let answer = director.send(with(list(), &headers)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["code"], "contradicting_credentials");
}

#[tokio::test]
async fn refusals_have_the_media_type_of_the_errors_of_the_route() {
    let director = Director::with("auth: tokens\n").await;
    let accept =
        |path: &str, kind: &str| with(request("GET", path, Body::empty()), &[("accept", kind)]);
    for (path, kind, expected) in [
        ("/swarm", "*/*", "application/json"),
        (
            "/swarm",
            "application/atq.swarm+json",
            "application/atq.swarm+json",
        ),
        (
            "/task/x",
            "application/atq.task+json",
            "application/atq.task+json",
        ),
        ("/task/x/events", "*/*", "application/problem+json"),
        ("/task", "*/*", "application/problem+json"),
    ] {
        let answer = director.send(accept(path, kind)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.kind(), expected, "{path}");
        assert!(answer.error().contains("needs a token"), "{path}");
    }
}

#[tokio::test]
async fn the_reason_is_named_to_the_owner_of_a_token() {
    let director = Director::with("auth: tokens\n").await;
    let expired = director.token_until("ci", Role::Admin, Some(1)).await;
    let answer = director.send_as(&expired.reveal(), list()).await;
    assert!(answer.error().contains("has expired"), "{}", answer.error());
    let challenge = &answer.headers[header::WWW_AUTHENTICATE];
    assert!(challenge.to_str().unwrap().contains("invalid_token"));
    // With the id only, nothing is learned about a token.
    let other = director.token("ana", Role::Admin).await;
    let secret = other.splitn(3, '_').last().unwrap();
    let guessed = format!("atq_{}_{secret}", expired.id());
    let answer = director.send_as(&guessed, list()).await;
    assert!(answer.error().contains("unknown"), "{}", answer.error());
}

#[tokio::test]
async fn a_process_at_the_socket_has_the_configured_role_and_needs_no_host() {
    for auth in ["off", "tokens"] {
        let more = format!("auth: {auth}\nsocket: /run/atq.sock\nsocketRole: runner\n");
        let director = Director::with(&more).await;
        let peer = Peer::Socket { uid: 1000 };
        let mut local = request("PUT", "/task", Body::from(payload("local").to_string()));
        let host = HeaderValue::from_static("anything");
        local.headers_mut().insert("host", host);
        let answer = director.send(from(local, peer)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let swarm = from(request("GET", "/swarm", Body::empty()), peer);
        let answer = director.send(swarm).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{auth}");
        assert!(answer.error().contains("`uid:1000`"));
    }
}

#[tokio::test]
async fn a_token_takes_precedence_over_the_user_of_a_socket() {
    let more = "auth: tokens\nsocket: /run/atq.sock\nsocketRole: viewer\n";
    let director = Director::with(more).await;
    let admin = director.token("ana", Role::Admin).await;
    let headers = [("x-atq-token", admin.as_str())];
    let swarm = with(request("GET", "/swarm", Body::empty()), &headers);
    let answer = director.send(from(swarm, Peer::Socket { uid: 1 })).await;
    assert_eq!(answer.status, StatusCode::OK);
    let wrong = with(list(), &[("x-atq-token", "atq_x")]);
    let answer = director.send(from(wrong, Peer::Socket { uid: 1 })).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_process_at_the_control_socket_is_an_admin() {
    let director = Director::with("auth: tokens\n").await;
    let mut local = request("GET", "/swarm", Body::empty());
    local.headers_mut().remove("host");
    let answer = director.send(from(local, Peer::Control { uid: 0 })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

#[tokio::test]
async fn a_client_of_the_port_cannot_claim_to_be_at_a_socket() {
    let director = Director::with("auth: tokens\nsocket: /run/atq.sock\n").await;
    let address = "127.0.0.1:4000".parse().unwrap();
    let answer = director.send(from(list(), Peer::Tcp(address))).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_is_ignored_while_authentication_is_off() {
    let director = Director::new().await;
    let answer = director.send_as("atq_nonsense", list()).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_task_shows_who_created_it_unless_authentication_is_off() {
    let director = Director::with("auth: tokens\n").await;
    let runner = director.token("jenkins", Role::Runner).await;
    let body = Body::from(payload("mine").to_string());
    let put = request("PUT", "/task", body);
    assert_eq!(director.send_as(&runner, put).await.status, StatusCode::OK);
    let show = |path: &str| request("GET", path, Body::empty());
    let task = director.send_as(&runner, show("/task/mine")).await.json();
    assert_eq!(task["createdBy"], "jenkins");
    let page = director.send_as(&runner, show("/task")).await.json();
    assert_eq!(page["tasks"][0]["createdBy"], "jenkins");
    let events = director.send_as(&runner, show("/task/mine/events")).await;
    assert_eq!(events.json()["events"][0]["data"]["createdBy"], "jenkins");
    let manifest = director.send_as(&runner, show("/task/mine/manifest")).await;
    assert_eq!(manifest.json()["createdBy"], "jenkins");

    let director = Director::new().await;
    director.put(&payload("open")).await;
    let task = director.get("/task/open").await.json();
    assert_eq!(task.get("createdBy"), None);
}

#[tokio::test(start_paused = true)]
async fn the_history_shows_who_stopped_a_task() {
    let director = Director::with("auth: tokens\n").await;
    let runner = director.token("jenkins", Role::Runner).await;
    let other = director.token("ana", Role::Runner).await;
    let body = Body::from(payload("mine").to_string());
    let put = request("PUT", "/task", body);
    director.send_as(&runner, put).await;
    let stop = || request("POST", "/task/mine/stop", Body::empty());
    let answer = director.send_as(&other, stop()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    // The first one counts.
    director.send_as(&runner, stop()).await;
    let mut history = Value::Null;
    for _ in 0..20_000 {
        let show = request("GET", "/task/mine/events", Body::empty());
        history = director.send_as(&runner, show).await.json();
        let mut events = history["events"].as_array().unwrap().iter();
        if let Some(stopped) = events.find(|event| event["event"] == "stopped") {
            assert_eq!(stopped["data"]["stoppedBy"], "ana");
            let show = request("GET", "/task/mine", Body::empty());
            let task = director.send_as(&runner, show).await.json();
            assert_eq!(task["stoppedBy"], "ana");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("never stopped: {history:#}");
}

/// Prints the time that access costs a request, with and without tokens.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_the_cost_of_access() {
    const ROUNDS: u32 = 5_000;
    for auth in ["off", "tokens"] {
        let director = Director::with(&format!("auth: {auth}\n")).await;
        let token = director.token("ci", Role::Admin).await;
        let show = || request("GET", "/task/nothing", Body::empty());
        for (name, headers) in [("without a token", vec![]), ("with a token", vec![token])] {
            let begun = std::time::Instant::now();
            for _ in 0..ROUNDS {
                match headers.first() {
                    Some(token) => director.send_as(token, show()).await,
                    None => director.send(show()).await,
                };
            }
            println!("auth: {auth}, {name}: {:?}", begun.elapsed() / ROUNDS);
        }
    }
}
