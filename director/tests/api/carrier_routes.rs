//! Tests of the port for carriers: its routes, and who may use them.

use crate::fixture::{Answer, Director, IMAGE, payload, request, zip};
use atq_engine_swarm::plan::{Errand, Role, carrier_token};
use atq_task::state::State;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use serde_json::{Value, json};
use std::time::Duration;

/// Sends a request to the port for carriers.
async fn send(director: &Director, method: &str, path: &str, token: &str, node: &str) -> Answer {
    send_body(director, method, path, token, node, Body::empty()).await
}

async fn send_body(
    director: &Director,
    method: &str,
    path: &str,
    token: &str,
    node: &str,
    body: Body,
) -> Answer {
    let mut request = request(method, path, body);
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers.insert("x-atq-node", node.parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    director.send_to_carriers(request).await
}

fn code(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.json()["code"].clone())
}

fn refused() -> (u16, Value) {
    (403, json!("not_authorized"))
}

/// A Director with a task in the step `delivery`, its state, and the id of its bundle.
async fn delivering(content: &[u8]) -> (Director, State, String) {
    let director = Director::with("directorId: any").await;
    // Its carriers start and keep running.
    director.swarm.image("atq-carrier:dev");
    let id = director.upload("plan.zip", content).await.json()["id"].clone();
    let id = id.as_str().unwrap().to_owned();
    let mut payload = payload("carried");
    payload["worker"]["fileid"] = json!(id);
    assert_eq!(director.put(&payload).await.status, 200);
    director
        .until("carried", |task| task["step"] == "delivery")
        .await;
    let state = director.state("carried").await;
    // The step has started; its carriers follow a moment later.
    while director.swarm.plans().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (director, state, id)
}

#[tokio::test]
async fn only_the_carriers_of_a_run_get_its_bundle_during_delivery() {
    let content = zip(&[("plan.jmx", "<x/>")]);
    let (director, state, id) = delivering(&content).await;
    let token = carrier_token(&state.token, &state.run, Errand::Fetch { bundle: &id });
    let path = format!("/carrier/{}/bundle/{id}", state.run);
    let get = async |path: &str, token: &str| send(&director, "GET", path, token, "node-1").await;

    for wrong in ["", "x", &state.token, &token[1..]] {
        let answer = get(&path, wrong).await;
        assert_eq!(code(&answer), refused(), "{wrong}");
        assert!(answer.headers.contains_key("x-atq-now"));
    }
    let anonymous = request("GET", &path, Body::empty());
    assert_eq!(code(&director.send_to_carriers(anonymous).await), refused());
    let elsewhere = format!("/carrier/aaaaaa/bundle/{id}");
    assert_eq!(code(&get(&elsewhere, &token).await), refused());
    let other = "0".repeat(32);
    let another = format!("/carrier/{}/bundle/{other}", state.run);
    assert_eq!(code(&get(&another, &token).await), refused());
    let valid = carrier_token(&state.token, &state.run, Errand::Fetch { bundle: &other });
    let answer = get(&another, &valid).await;
    assert_eq!(code(&answer), (403, json!("not_delivered")));

    for _ in 0..2 {
        let answer = get(&path, &token).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, content);
        assert_eq!(answer.headers[CONTENT_LENGTH], content.len().to_string());
        assert!(answer.headers.contains_key("x-atq-now"));
    }
    director.call("POST", "/task/carried/stop").await;
    director
        .until("carried", |task| task["status"] == "stopped")
        .await;
    assert_eq!(get(&path, &token).await.status, 403);
}

#[tokio::test]
async fn a_token_is_of_use_for_its_errand_only() {
    let (director, state, id) = delivering(&zip(&[("plan.jmx", "<x/>")])).await;
    let run = &state.run;
    let requests = [
        (
            Errand::Fetch { bundle: &id },
            "GET",
            format!("/carrier/{run}/bundle/{id}"),
        ),
        (
            Errand::Collect { node: "node-1" },
            "PUT",
            format!("/carrier/{run}/results/worker.1"),
        ),
        (Errand::Watch, "POST", format!("/carrier/{run}/load")),
    ];
    for (own, ..) in &requests {
        let token = carrier_token(&state.token, run, *own);
        for (errand, method, path) in &requests {
            let answer = send(&director, method, path, &token, "node-1").await;
            let authorized = answer.status != 403;
            assert_eq!(
                authorized,
                own == errand,
                "{own:?} {method} {path}: {}",
                answer.text()
            );
        }
        // The node of a collector is bound by its token, whatever it claims.
        let (_, method, path) = &requests[1];
        let answer = send(&director, method, path, &token, "node-2").await;
        assert_eq!(code(&answer), refused());
    }
}

#[tokio::test(start_paused = true)]
async fn a_carrier_sends_only_what_belongs_to_its_node() {
    let director = Director::new().await;
    director.swarm.image(IMAGE).in_role(Role::Master);
    let mut task = payload("carried");
    task["criteria"] = json!(["errors < 1%"]);
    director.put(&task).await;
    director
        .until("carried", |task| task["status"] == "started")
        .await;
    let state = director.state("carried").await;
    let token = carrier_token(&state.token, &state.run, Errand::Watch);
    let path = format!("/carrier/{}/load", state.run);
    let container = director.container("worker", 1).await;
    let post = async |node: &str, source: &str, id: &str| {
        let load = json!({
            "at": 1, "cpus": 4, "nodePercent": 50.0,
            "containers": [{"id": id, "source": source, "percent": 100.0}],
        });
        let body = Body::from(load.to_string());
        send_body(&director, "POST", &path, &token, node, body).await
    };
    assert_eq!(post("node-1", "worker.1", &container).await.status, 204);
    for (node, source, id) in [
        ("node-2", "worker.1", container.as_str()),
        ("", "worker.1", &container),
        ("node-1", "worker.2", &container),
        ("node-1", "worker.99", &container),
        ("node-1", "sidecar", &container),
        ("node-1", "worker.1", "another"),
        ("node-1", "worker.1", ""),
    ] {
        let answer = post(node, source, id).await;
        assert_eq!(code(&answer), refused(), "{node} {source} {id}");
    }
}

#[tokio::test]
async fn a_director_returns_its_id_and_the_routes_are_not_documented() {
    let director = Director::with("directorId: somebody").await;
    let ready = request("GET", "/carrier/ready", Body::empty());
    let answer = director.send_to_carriers(ready).await;
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
async fn the_api_has_no_routes_for_carriers_and_their_port_no_others() {
    let director = Director::new().await;
    for (method, path) in [
        ("GET", "/carrier/ready"),
        ("GET", "/carrier/aaaaaa/bundle/x"),
        ("PUT", "/carrier/aaaaaa/results/worker.1"),
        ("POST", "/carrier/aaaaaa/load"),
        ("GET", "/api/carrier/ready"),
    ] {
        let answer = director.call(method, path).await;
        assert_eq!(answer.status, 404, "{method} {path}");
    }
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/task"),
        ("PUT", "/task"),
        ("POST", "/databind/upload"),
        ("GET", "/swarm"),
        ("GET", "/api/swarm"),
        ("GET", "/monitoring/ping"),
        ("GET", "/healthz"),
        ("GET", "/swagger-ui/"),
        ("GET", "/api-docs/openapi.json"),
        ("POST", "/carrier/ready"),
        ("GET", "/carrier/ready/"),
        ("GET", "/carrier/"),
        ("DELETE", "/carrier/aaaaaa/load"),
    ] {
        let answer = send(&director, method, path, "token", "node-1").await;
        assert_eq!(code(&answer), refused(), "{method} {path}");
    }
}

#[tokio::test]
async fn unauthorized_requests_are_in_the_audit_log_without_their_tokens() {
    let director = Director::new().await;
    let path = "/carrier/aaaaaa/results/worker.1?problem=x";
    send(&director, "PUT", path, "stolen-token", "node-7").await;
    let lines = director.audit().await;
    let line = lines.last().unwrap();
    assert_eq!(line["outcome"], "refused");
    assert_eq!(line["code"], "not_authorized");
    assert_eq!(line["status"], 403);
    assert_eq!(line["path"], "/carrier/aaaaaa/results/worker.1");
    assert!(!line.to_string().contains("stolen"), "{line}");
}

#[tokio::test]
async fn an_unauthorized_usage_report_is_refused_before_it_is_read() {
    let director = Director::new().await;
    let body = Body::from_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let mut request = request("POST", "/carrier/aaaaaa/load", body);
    let headers = request.headers_mut();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("expect", "100-continue".parse().unwrap());
    let answer = director.send_to_carriers(request).await;
    assert_eq!(code(&answer), refused());
}

#[tokio::test(start_paused = true)]
async fn an_oversized_usage_report_is_refused() {
    let (director, state, _) = delivering(&zip(&[("plan.jmx", "<x/>")])).await;
    let token = carrier_token(&state.token, &state.run, Errand::Watch);
    let path = format!("/carrier/{}/load", state.run);
    let body = Body::from(vec![b' '; 2 << 20]);
    let answer = send_body(&director, "POST", &path, &token, "node-1", body).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
}

#[tokio::test]
async fn carriers_repeat_their_requests_until_earlier_tasks_are_resumed() {
    let director = Director::new().await;
    director.recovered.send_replace(false);
    let path = "/carrier/aaaaaa/load";
    let answer = send(&director, "POST", path, "token", "node-1").await;
    assert_eq!(code(&answer), (503, json!("starting")));
    let ready = send(&director, "GET", "/carrier/ready", "", "node-1").await;
    assert_eq!(ready.status, 200);
    director.recovered.send_replace(true);
    let answer = send(&director, "POST", path, "token", "node-1").await;
    assert_eq!(code(&answer), refused());
}
