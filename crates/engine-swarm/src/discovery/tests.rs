#![allow(clippy::unwrap_used)]
use super::*;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

/// A sidecar that gives the same response to every probe and records the requests.
struct Sidecar {
    endpoint: String,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Sidecar {
    async fn responding(status: StatusCode, response: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let seen = requests.clone();
        let take = async move |headers: HeaderMap, Json(order): Json<Value>| {
            let guard = headers[AUTHORIZATION].to_str().unwrap().to_owned();
            seen.lock().unwrap().push((guard, order));
            (status, Json(response))
        };
        let router = Router::new()
            .route("/probe", post(take))
            .route("/healthz", get(move || async move { status }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, requests }
    }

    async fn probe(&self, probe: &Probe) -> Result<Vec<Probed>, DiscoveryError> {
        probe_addresses(&self.endpoint, &[SECOND, FIRST], probe).await
    }

    fn requests(&self) -> Vec<(String, Value)> {
        self.requests.lock().unwrap().clone()
    }
}

async fn probe_addresses(
    endpoint: &str,
    addresses: &[Ipv4Addr],
    probe: &Probe,
) -> Result<Vec<Probed>, DiscoveryError> {
    let sidecars = HttpDiscovery::new().unwrap();
    let timeout = Duration::from_millis(2500);
    let probed = sidecars.probe(endpoint, "s3cret", addresses, probe, timeout);
    probed.await
}

fn ready(address: Ipv4Addr) -> Probed {
    Probed {
        address,
        reason: None,
    }
}

fn not_ready(address: Ipv4Addr, reason: &str) -> Probed {
    Probed {
        address,
        reason: Some(reason.to_owned()),
    }
}

fn both_ready() -> Value {
    json!([{"address": SECOND, "ready": true}, {"address": FIRST, "ready": true}])
}

#[tokio::test]
async fn ports_are_probed_with_the_token_in_the_requested_order() {
    let sidecar = Sidecar::responding(StatusCode::OK, both_ready()).await;
    let probed = sidecar.probe(&Probe::Tcp(1099)).await.unwrap();
    assert_eq!(probed, [ready(SECOND), ready(FIRST)]);
    let order = json!({"addresses": ["10.0.0.3", "10.0.0.2"], "tcp": 1099, "timeout": 2.5});
    assert_eq!(sidecar.requests(), [("Bearer s3cret".to_owned(), order)]);
}

#[tokio::test]
async fn http_is_probed_with_port_path_and_status() {
    let sidecar = Sidecar::responding(StatusCode::OK, both_ready()).await;
    let probe = Probe::Http {
        port: 8080,
        path: "/health".into(),
        status: 204,
    };
    sidecar.probe(&probe).await.unwrap();
    let get = json!({"port": 8080, "path": "/health", "status": 204});
    let order = json!({"addresses": ["10.0.0.3", "10.0.0.2"], "http": get, "timeout": 2.5});
    assert_eq!(sidecar.requests()[0].1, order);
}

#[tokio::test]
async fn reasons_come_from_the_sidecar() {
    let response = json!([
        {"address": SECOND, "ready": false, "reason": "connection refused"},
        {"address": FIRST, "ready": false},
    ]);
    let sidecar = Sidecar::responding(StatusCode::OK, response).await;
    let probed = sidecar.probe(&Probe::Tcp(1)).await.unwrap();
    let expected = [
        not_ready(SECOND, "connection refused"),
        not_ready(FIRST, "the sidecar reported no reason"),
    ];
    assert_eq!(probed, expected);
}

#[tokio::test]
async fn a_response_that_omits_an_address_is_an_error() {
    let one = json!([{"address": SECOND, "ready": true}]);
    let swapped = json!([{"address": FIRST, "ready": true}, {"address": SECOND, "ready": true}]);
    for response in [json!([]), one, swapped] {
        let sidecar = Sidecar::responding(StatusCode::OK, response.clone()).await;
        let error = sidecar.probe(&Probe::Tcp(1)).await.unwrap_err();
        assert_eq!(error.endpoint, sidecar.endpoint);
        assert!(error.reason.starts_with("answered a probe for"), "{error}");
    }
}

#[tokio::test]
async fn an_unexpected_status_or_body_is_an_error_that_names_it() {
    let refusal = json!({"error": "token missing or wrong"});
    let sidecar = Sidecar::responding(StatusCode::UNAUTHORIZED, refusal).await;
    let error = sidecar.probe(&Probe::Tcp(1)).await.unwrap_err();
    assert_eq!(error.reason, "answered 401 Unauthorized; expected 200");
    let sidecar = Sidecar::responding(StatusCode::OK, json!({"ready": true})).await;
    let error = sidecar.probe(&Probe::Tcp(1)).await.unwrap_err();
    assert!(error.reason.contains("expected a sequence"), "{error}");
}

#[tokio::test]
async fn an_unreachable_sidecar_is_an_error() {
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    let error = probe_addresses(&endpoint, &[FIRST], &Probe::Tcp(1))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn health_is_any_success_of_the_sidecar() {
    let client = HttpDiscovery::new().unwrap();
    let sidecar = Sidecar::responding(StatusCode::OK, json!([])).await;
    assert_eq!(client.health(&sidecar.endpoint).await, Ok(()));
    let broken = Sidecar::responding(StatusCode::BAD_GATEWAY, json!([])).await;
    let reason = client.health(&broken.endpoint).await.unwrap_err().reason;
    assert_eq!(reason, "answered 502 Bad Gateway; expected 200");
    let unreachable = client.health("http://127.0.0.1:1").await.unwrap_err();
    assert!(unreachable.reason.contains("refused"), "{unreachable}");
}

#[tokio::test]
async fn no_request_is_sent_without_addresses() {
    let sidecar = Sidecar::responding(StatusCode::OK, json!([])).await;
    let probed = probe_addresses(&sidecar.endpoint, &[], &Probe::Tcp(1))
        .await
        .unwrap();
    assert!(probed.is_empty());
    assert!(sidecar.requests().is_empty());
}
