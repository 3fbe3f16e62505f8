//! Paths, bodies, status codes and authentication.

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::client::{Sidecar, dns_and_sidecar, status_and_body};
use crate::dns::{Answer, Dns, ordered, shuffled};

#[tokio::test]
async fn addresses_are_sorted_numerically_and_distinct() {
    let records = ["10.0.0.10", "10.0.0.9", "10.0.0.10", "9.0.0.255"];
    let records = records.map(|a| a.parse().unwrap()).to_vec();
    let (_dns, sidecar) = dns_and_sidecar(Answer::Records(records)).await;
    let expected = json!(["9.0.0.255", "10.0.0.9", "10.0.0.10"]);
    assert_eq!(sidecar.get("/api/w").await, (StatusCode::OK, expected));
}

#[tokio::test]
async fn the_body_is_json_unless_csv_is_requested() {
    let (_dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(3))).await;
    let csv = ("text/csv", "10.0.0.2,10.0.0.3,10.0.0.4");
    let json = ("application/json", r#"["10.0.0.2","10.0.0.3","10.0.0.4"]"#);
    let cases = [
        (None, json),
        (Some("*/*"), json),
        (Some("application/json, text/csv"), json),
        (Some("text/csv"), csv),
        (Some("Text/CSV; q=0.9, */*"), csv),
    ];
    for (accept, (content_type, body)) in cases {
        let mut request = sidecar.request("/api/w");
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{accept:?}");
        assert_eq!(response.text().await.unwrap(), body, "{accept:?}");
    }
}

#[tokio::test]
async fn every_dns_failure_is_204_without_a_body() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Empty).await;
    let kinds = [
        Answer::Empty,
        Answer::NxDomain,
        Answer::ServerFailure,
        Answer::Close,
        Answer::HalfThenClose,
        Answer::Garbage,
        Answer::Stall,
    ];
    for (before, kind) in kinds.into_iter().enumerate() {
        dns.always(kind);
        let answer = sidecar.get("/api/w").await;
        assert_eq!(answer, (StatusCode::NO_CONTENT, Value::Null));
        assert_eq!(dns.questions().len(), before + 1, "one attempt");
    }
    dns.always(Answer::Truncated(shuffled(3)));
    assert_eq!(sidecar.addresses("/api/w").await, ordered(0));
    dns.always(Answer::Records(shuffled(3)));
    assert_eq!(sidecar.addresses("/api/w").await, ordered(3));
}

#[tokio::test]
async fn an_unreachable_dns_server_is_204() {
    // Bound but not listening: connections are refused, and the port stays reserved.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = closed.local_addr().unwrap();
    let sidecar = Sidecar::start(address, None).await;
    assert_eq!(
        sidecar.get("/api/w").await,
        (StatusCode::NO_CONTENT, Value::Null)
    );
}

#[tokio::test]
async fn a_lookup_is_one_a_query_over_tcp_with_the_name_unchanged() {
    let (dns, sidecar) = dns_and_sidecar(Answer::NxDomain).await;
    sidecar.addresses("/api/Task_Workers-1").await;
    let question = [b"\x0eTask_Workers-1".as_slice(), &[0, 0, 1, 0, 1]].concat();
    assert_eq!(dns.questions(), [question]);
    assert!(!dns.received_udp());
}

#[tokio::test]
async fn nothing_is_cached() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(3))).await;
    assert_eq!(sidecar.addresses("/api/w").await, ordered(3));
    dns.always(Answer::Records(shuffled(2)));
    assert_eq!(sidecar.addresses("/api/w").await, ordered(2));
    dns.always(Answer::NxDomain);
    assert_eq!(sidecar.addresses("/api/w").await, ordered(0));
    dns.always(Answer::Records(shuffled(1)));
    assert_eq!(sidecar.addresses("/api/w").await, ordered(1));
}

#[tokio::test]
async fn a_stalled_lookup_does_not_delay_another_request() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(3))).await;
    dns.once(Answer::Stall);
    let waiting = sidecar.clone();
    let stalled = tokio::spawn(async move { waiting.addresses("/api/absent").await });
    dns.wait_for_questions(1).await;
    assert_eq!(sidecar.addresses("/api/w").await, ordered(3));
    assert_eq!(stalled.await.unwrap(), ordered(0));
}

#[tokio::test]
async fn connections_to_the_name_server_end_with_the_request() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(3))).await;
    for _ in 0..20 {
        sidecar.addresses("/api/w?replicas=3").await;
    }
    dns.always(Answer::Stall);
    sidecar.addresses("/api/w?replicas=3&timeout=0.4").await;
    dns.wait_until_disconnected().await;
}

#[tokio::test]
async fn bad_input_is_400_and_names_the_parameter() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(3))).await;
    let long = format!("/api/{}", "a".repeat(64));
    let cases = [
        ("/api/", "`hostname`"),
        ("/api/a%20b", "`hostname` is `a b`"),
        ("/api/a%2Fb", "`hostname` is `a/b`"),
        ("/api/%ff", "`hostname`"),
        ("/api/a..b", "`hostname` is `a..b`"),
        (&long, "`hostname`"),
        ("/api/w?replicas=0", "`replicas` is `0`"),
        ("/api/w?replicas=", "`replicas` is ``"),
        ("/api/w?replicas=10000", "`replicas` is `10000`"),
        ("/api/w?timeout=soon", "`timeout` is `soon`"),
        ("/api/w?probe=1099", "`probe` is `1099`"),
        ("/api/w?replica=3", "`parameter` is `replica`"),
    ];
    for (path, expected) in cases {
        let (status, body) = sidecar.get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(expected), "{path}: {error}");
    }
    assert!(dns.questions().is_empty());
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_json() {
    let (_dns, sidecar) = dns_and_sidecar(Answer::Empty).await;
    for path in ["/", "/api", "/api/a/b", "/healthz/", "/probe/", "/metrics"] {
        let (status, body) = sidecar.get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(
            body["error"]
                .as_str()
                .unwrap()
                .contains(&format!("`{path}`"))
        );
    }
    let (status, body) = status_and_body(sidecar.post("/api/w")).await;
    let error = json!({"error": "method is `POST`, expected `GET`"});
    assert_eq!((status, body), (StatusCode::METHOD_NOT_ALLOWED, error));
    let error = json!({"error": "method is `GET`, expected `POST`"});
    let expected = (StatusCode::METHOD_NOT_ALLOWED, error);
    assert_eq!(sidecar.get("/probe").await, expected);
}

#[tokio::test]
async fn the_api_requires_the_token_and_healthz_does_not() {
    let dns = Dns::start(Answer::Records(shuffled(3))).await;
    let sidecar = Sidecar::start(dns.address, Some("s3cret")).await;
    let wrong = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cret2",
        "Basic s3cret",
        "s3cret",
    ];
    for path in [
        "/api/w",
        "/api/",
        "/api",
        "/api/a/b",
        "/api/w?replicas=x",
        "/probe",
        "/probe/",
    ] {
        assert_eq!(
            sidecar.get(path).await.0,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
        for value in wrong {
            let response = sidecar
                .request(path)
                .header(AUTHORIZATION, value)
                .send()
                .await
                .unwrap();
            assert_eq!(
                response.status(),
                StatusCode::UNAUTHORIZED,
                "{path} {value}"
            );
            assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
            assert!(response.json::<Value>().await.unwrap()["error"].is_string());
        }
    }
    assert!(dns.questions().is_empty());
    for value in ["Bearer s3cret", "bearer s3cret"] {
        let (status, body) =
            status_and_body(sidecar.request("/api/w").header(AUTHORIZATION, value)).await;
        assert_eq!((status, body), (StatusCode::OK, json!(ordered(3))));
    }
    let health = sidecar.request("/healthz").send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    assert_eq!(health.text().await.unwrap(), "ok");
}
