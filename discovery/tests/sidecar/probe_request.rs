//! `POST /probe`, with workers on addresses of the loopback network.

use std::net::Ipv4Addr;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Sidecar, dns_and_sidecar, status_and_body};
use crate::dns::{Answer, Dns};
use crate::workers::{accept_everywhere, reserve_port, serve};

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 2);
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn ready(address: Ipv4Addr) -> Value {
    json!({"address": address, "ready": true})
}

fn not_ready(address: Ipv4Addr, reason: &str) -> Value {
    json!({"address": address, "ready": false, "reason": reason})
}

/// The sidecar's response to this order. Sends no DNS query.
async fn probe(order: &Value) -> Value {
    let (dns, sidecar) = dns_and_sidecar(Answer::Empty).await;
    let (status, body) = sidecar.probe(order).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(dns.questions().is_empty());
    body
}

fn tcp(addresses: &[Ipv4Addr], port: u16, timeout: f64) -> Value {
    json!({"addresses": addresses, "tcp": port, "timeout": timeout})
}

fn http(addresses: &[Ipv4Addr], port: u16, timeout: f64) -> Value {
    let get = json!({"port": port, "path": "/health?full=1", "status": 200});
    json!({"addresses": addresses, "http": get, "timeout": timeout})
}

/// The outcome for a worker with this answer.
async fn outcome_of(answer: &'static [u8]) -> Value {
    let ([worker], port) = reserve_port([FIRST]);
    serve(worker, &[answer]);
    // Long enough for the first answer even on a slow machine.
    probe(&http(&[FIRST], port, 2.0)).await[0].clone()
}

#[tokio::test]
async fn accepting_workers_are_ready_and_keep_the_order_of_the_request() {
    let ([first, second], port) = reserve_port([FIRST, SECOND]);
    let _open = (first.listen(8).unwrap(), second.listen(8).unwrap());
    let outcomes = probe(&tcp(&[SECOND, FIRST, SECOND], port, 30.0)).await;
    assert_eq!(
        outcomes,
        json!([ready(SECOND), ready(FIRST), ready(SECOND)])
    );
}

#[tokio::test]
async fn a_refusing_worker_is_reported_beside_a_ready_one() {
    let ([first, _second], port) = reserve_port([FIRST, SECOND]);
    let _open = first.listen(8).unwrap();
    let outcomes = probe(&tcp(&[FIRST, SECOND], port, 0.5)).await;
    let refused = not_ready(SECOND, "connection refused");
    assert_eq!(outcomes, json!([ready(FIRST), refused]));
    let outcomes = probe(&http(&[SECOND], port, 0.5)).await;
    assert_eq!(outcomes, json!([refused]));
}

#[tokio::test]
async fn a_wait_ends_when_the_last_worker_accepts_and_others_are_not_probed_again() {
    let ([first, second], port) = reserve_port([FIRST, SECOND]);
    let first = first.listen(8).unwrap();
    let request = tokio::spawn(async move { probe(&tcp(&[FIRST, SECOND], port, 30.0)).await });
    first.accept().await.unwrap();
    assert!(!request.is_finished());
    let _second = second.listen(8).unwrap();
    assert_eq!(request.await.unwrap(), json!([ready(FIRST), ready(SECOND)]));
    // A second connection would be in the queue by now.
    assert!(timeout(Duration::ZERO, first.accept()).await.is_err());
}

#[tokio::test]
async fn http_is_probed_until_the_status_matches_and_not_again() {
    let ([first, second], port) = reserve_port([FIRST, SECOND]);
    let first = serve(first, &[UNAVAILABLE, b"", GOOD]);
    let second = serve(second, &[GOOD]);
    let outcomes = probe(&http(&[FIRST, SECOND], port, 30.0)).await;
    assert_eq!(outcomes, json!([ready(FIRST), ready(SECOND)]));
    assert_eq!(first.lock().unwrap().len(), 3);
    let requests = second.lock().unwrap().clone();
    let expected = format!(
        "GET /health?full=1 HTTP/1.1\r\nHost: 127.0.9.2:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(requests, [expected]);
}

#[tokio::test]
async fn only_the_status_line_counts() {
    let answers: [&[u8]; 5] = [
        GOOD,
        b"HTTP/1.0 200\r\n",
        b"HTTP/1.1 200 OK\n",
        b"HTTP/1.1 200 Gr\xf6\xdfe\r\n: no header\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf",
    ];
    for answer in answers {
        let outcomes = outcome_of(answer).await;
        assert_eq!(outcomes, ready(FIRST), "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn other_responses_are_reported() {
    let other = "answered something other than HTTP/1";
    let closed = "closed the connection without an HTTP answer";
    let cases: [(&[u8], &str); 9] = [
        (UNAVAILABLE, "answered 503; expected 200"),
        // A redirect is not followed.
        (
            b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
            "answered 302; expected 200",
        ),
        (b"", closed),
        (b"HTTP/1.1 20", closed),
        (b"HTTP/1.1 200 O", closed),
        (b"SSH-2.0-OpenSSH_9.9\r\n", other),
        (b"\x15\x03\x03\x00\x02\x02\x46", other),
        (b"HTTP/2 200\r\n\r\n", other),
        (&[b'\n'; 10_000], other),
    ];
    let mut checks = JoinSet::new();
    for (answer, reason) in cases {
        checks.spawn(async move {
            let outcomes = outcome_of(answer).await;
            assert_eq!(
                outcomes,
                not_ready(FIRST, reason),
                "{}",
                answer.escape_ascii()
            );
        });
    }
    checks.join_all().await;
}

#[tokio::test]
async fn a_status_line_in_pieces_counts() {
    let ([worker], port) = reserve_port([FIRST]);
    let listener = worker.listen(8).unwrap();
    let request = tokio::spawn(async move { probe(&http(&[FIRST], port, 30.0)).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in GOOD {
        // The sidecar may have closed the connection already.
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(request.await.unwrap(), json!([ready(FIRST)]));
}

#[tokio::test]
async fn a_worker_that_accepts_without_responding_passes_tcp_but_not_http() {
    let ([first], port) = reserve_port([FIRST]);
    let _silent = first.listen(8).unwrap();
    let outcomes = probe(&tcp(&[FIRST], port, 30.0)).await;
    assert_eq!(outcomes, json!([ready(FIRST)]));
    let outcomes = probe(&http(&[FIRST], port, 4.0)).await;
    let silent = not_ready(FIRST, "no HTTP answer within 1 s");
    assert_eq!(outcomes, json!([silent]));
    let outcomes = probe(&http(&[FIRST], port, 0.2)).await;
    let early = not_ready(FIRST, "no answer before the deadline");
    assert_eq!(outcomes, json!([early]));
}

#[tokio::test]
async fn a_worker_with_a_full_backlog_does_not_answer() {
    let ([first], port) = reserve_port([FIRST]);
    let _full = first.listen(0).unwrap();
    // The backlog has room for one connection.
    let _first_in_line = TcpStream::connect((FIRST, port)).await.unwrap();
    let outcomes = probe(&tcp(&[FIRST], port, 4.0)).await;
    assert_eq!(outcomes, json!([not_ready(FIRST, "no answer within 1 s")]));
}

#[tokio::test]
async fn addresses_not_tried_before_the_timeout_are_reported() {
    let (_closed, port) = reserve_port([FIRST]);
    let addresses: Vec<_> = (0..100).map(|i| Ipv4Addr::new(127, 0, 9, i)).collect();
    let outcomes = probe(&tcp(&addresses, port, 0.0)).await;
    let reasons = outcomes.as_array().unwrap();
    assert_eq!(reasons.len(), 100);
    // All except the concurrent attempts.
    let untried = reasons
        .iter()
        .filter(|one| one["reason"] == "not tried before the deadline");
    assert_eq!(untried.count(), 36);
}

#[tokio::test]
async fn two_thousand_addresses_are_probed() {
    let port = accept_everywhere().await;
    let addresses: Vec<_> = (0..2_000)
        .map(|i: u16| Ipv4Addr::from(u32::from_be_bytes([127, 1, 0, 0]) + u32::from(i)))
        .collect();
    let outcomes = probe(&tcp(&addresses, port, 30.0)).await;
    let expected: Vec<_> = addresses.into_iter().map(ready).collect();
    assert_eq!(outcomes, Value::Array(expected));
}

#[tokio::test]
async fn bodies_may_have_the_maximum_of_addresses_and_are_limited() {
    let (_closed, port) = reserve_port([FIRST]);
    let most = vec![Ipv4Addr::new(127, 100, 100, 100); 4_000];
    let outcomes = probe(&tcp(&most, port, 0.0)).await;
    assert_eq!(outcomes.as_array().unwrap().len(), 4_000);
    let (_dns, sidecar) = dns_and_sidecar(Answer::Empty).await;
    let (status, body) = sidecar.probe(&json!("x".repeat(128 * 1024))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(body["error"].as_str().unwrap().contains("131072 bytes"));
}

#[tokio::test]
async fn bad_bodies_are_400_and_name_the_field() {
    let (_dns, sidecar) = dns_and_sidecar(Answer::Empty).await;
    let cases = [
        (json!([]), "`body` is `[]`"),
        (json!({"tcp": 1}), "`addresses` is missing"),
        (
            json!({"addresses": ["worker"], "tcp": 1}),
            "`addresses[0]` is `\"worker\"`",
        ),
        (
            json!({"addresses": [FIRST], "tcp": "1099"}),
            "`tcp` is `\"1099\"`",
        ),
        (
            json!({"addresses": [FIRST], "udp": 53}),
            "`field of body` is `udp`",
        ),
    ];
    for (order, expected) in cases {
        let (status, body) = sidecar.probe(&order).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{order}");
        let error = body["error"].as_str().unwrap();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn without_the_token_nothing_is_probed() {
    let dns = Dns::start(Answer::Empty).await;
    let sidecar = Sidecar::start(dns.address, Some("s3cret")).await;
    let ([first], port) = reserve_port([FIRST]);
    let first = first.listen(8).unwrap();
    let order = tcp(&[FIRST], port, 30.0);
    assert_eq!(sidecar.probe(&order).await.0, StatusCode::UNAUTHORIZED);
    assert!(timeout(Duration::ZERO, first.accept()).await.is_err());
    let request = sidecar.post("/probe").bearer_auth("s3cret");
    let answer = status_and_body(request.body(order.to_string())).await;
    assert_eq!(answer, (StatusCode::OK, json!([ready(FIRST)])));
}
