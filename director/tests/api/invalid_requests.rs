//! Tests of invalid requests: each gets its own JSON error, and none is an internal error.

use crate::fixture::{Answer, Director, payload, request};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use futures_util::{StreamExt, stream};
use serde_json::json;

/// Checks the members that every error has.
fn check(answer: &Answer, what: &str) {
    assert!(
        answer.status.is_client_error(),
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    assert!(answer.kind().ends_with("json"), "{what}: {}", answer.kind());
    let body = answer.json();
    assert!(!answer.error().is_empty(), "{what}");
    for member in ["type", "title", "detail", "code"] {
        assert!(body[member].is_string(), "{what}: `{member}` in {body}");
    }
    if answer.status != StatusCode::EXPECTATION_FAILED {
        assert_eq!(body["status"], answer.status.as_u16(), "{what}");
    }
}

#[tokio::test]
async fn unknown_paths() {
    let director = Director::new().await;
    let paths = [
        "/",
        "/api",
        "/api/",
        "/apitask",
        "/api/api/task",
        "/tasks",
        "/task//x",
        "/task/x/y",
        "/databind",
        "/swarm/x",
        "/../etc/passwd",
        "/%ff",
        "/monitoring",
        "/task/abc/stop/now",
        "/swagger-ui/none-such",
    ];
    for path in paths {
        let answer = director.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        check(&answer, path);
        assert_eq!(answer.json()["code"], "unknown_path", "{path}");
    }
}

#[tokio::test]
async fn invalid_names() {
    let director = Director::new().await;
    for name in [
        "x",
        "%ff%fe",
        "a%2Fb",
        "..%2f..%2fetc",
        "-abc",
        "a%00b",
        "abc%0d%0ax:y",
        &"a".repeat(60),
    ] {
        for (method, path) in [
            ("GET", "task"),
            ("DELETE", "task"),
            ("GET", "databind"),
            ("DELETE", "databind"),
        ] {
            let answer = director.call(method, &format!("/api/{path}/{name}")).await;
            assert_eq!(
                answer.status,
                StatusCode::NOT_FOUND,
                "{method} {path}/{name}"
            );
            check(&answer, name);
        }
        for (method, end) in [("GET", "events"), ("GET", "logs"), ("POST", "stop")] {
            let answer = director.call(method, &format!("/task/{name}/{end}")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name} {end}");
            assert_eq!(answer.kind(), "application/problem+json");
            check(&answer, name);
        }
    }
}

#[tokio::test]
async fn unsupported_methods() {
    let director = Director::new().await;
    let paths = [
        ("/task", "GET,HEAD,PUT"),
        ("/task/abc", "DELETE,GET,HEAD"),
        ("/task/abc/stop", "POST"),
        ("/task/abc/events", "GET,HEAD"),
        ("/task/abc/logs", "GET,HEAD"),
        ("/databind/upload", "POST"),
        ("/databind/list", "GET,HEAD"),
        ("/swarm", "GET,HEAD"),
        ("/monitoring/ping", "GET,HEAD"),
        ("/healthz", "GET,HEAD"),
        ("/readyz", "GET,HEAD"),
    ];
    for (path, allowed) in paths {
        for method in [
            "GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW",
        ] {
            if allowed.split(',').any(|allowed| allowed == method) {
                continue;
            }
            for prefix in ["", "/api"] {
                let what = format!("{method} {prefix}{path}/");
                let answer = director.call(method, &format!("{prefix}{path}/")).await;
                assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{what}");
                check(&answer, &what);
                let mut allow: Vec<&str> = answer.headers[header::ALLOW]
                    .to_str()
                    .unwrap()
                    .split(',')
                    .collect();
                allow.sort_unstable();
                assert_eq!(allow.join(","), allowed, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn invalid_definitions() {
    let director = Director::new().await;
    let twice = payload("twice")
        .to_string()
        .replacen('{', "{\"name\":\"other\",", 1);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let number = |text: &str| {
        payload("numbered")
            .to_string()
            .replace("\"replicas\":2", &format!("\"replicas\":{text}"))
    };
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("empty", b"".to_vec(), 400),
        ("no json", b"hello".to_vec(), 400),
        ("form", b"name=x&worker=y".to_vec(), 400),
        ("cut off", b"{\"name\": \"abc\"".to_vec(), 400),
        ("two values", b"{} {}".to_vec(), 400),
        ("trailing comma", b"{\"name\":\"abc\",}".to_vec(), 400),
        ("not utf-8", b"{\"name\":\"\xff\xfe\"}".to_vec(), 400),
        ("lone surrogate", br#"{"name":"\ud800"}"#.to_vec(), 400),
        ("field twice", twice.into_bytes(), 400),
        ("deep", deep.into_bytes(), 400),
        ("infinite", number("1e999").into_bytes(), 400),
        ("not a number", number("NaN").into_bytes(), 400),
        ("null", b"null".to_vec(), 417),
        ("array", b"[]".to_vec(), 417),
        ("string", b"\"x\"".to_vec(), 417),
        ("number", b"1".to_vec(), 417),
        ("empty object", b"{}".to_vec(), 417),
        ("negative", number("-1").into_bytes(), 417),
        ("fraction", number("1.5").into_bytes(), 417),
        ("too many", number("18446744073709551616").into_bytes(), 417),
        ("text", number("\"2\"").into_bytes(), 417),
        (
            "nul",
            payload("nul")
                .to_string()
                .replace("Minions", "a\\u0000b")
                .into_bytes(),
            417,
        ),
        (
            "huge",
            [
                b"{\"name\":\"".to_vec(),
                vec![b'a'; 2 << 20],
                b"\"}".to_vec(),
            ]
            .concat(),
            413,
        ),
        (
            "long",
            [
                b"{\"name\":\"".to_vec(),
                vec![b'a'; 1 << 19],
                b"\"}".to_vec(),
            ]
            .concat(),
            417,
        ),
    ];
    let fields = wrong_fields().map(|(what, body)| (what, body, 417));
    for (what, body, status) in cases.into_iter().chain(fields) {
        let answer = director
            .send(request("PUT", "/api/task/", Body::from(body)))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
        check(&answer, what);
        assert!(answer.body.len() < 10_000, "{what} is echoed");
    }
    assert!(
        director
            .orchestrator
            .list(|_, _| true)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Definitions with one invalid field.
fn wrong_fields() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let fields = [
        (
            "deep resources",
            "resources",
            json!({"limits": {"cpus": {"cpus": {"cpus": 1}}}}),
        ),
        (
            "cpus as infinity",
            "resources",
            json!({"limits": {"cpus": "1e400"}}),
        ),
        (
            "memory as a negative",
            "resources",
            json!({"limits": {"memory": "-1g"}}),
        ),
        (
            "memory beyond all bounds",
            "resources",
            json!({"limits": {"memory": "9".repeat(10_000)}}),
        ),
        (
            "more reserved than allowed",
            "resources",
            json!({"limits": {"cpus": 1}, "reservations": {"cpus": 2}}),
        ),
        (
            "constraints that ask for nothing",
            "placement",
            json!({"constraints": vec!["zone=a"; 20]}),
        ),
        (
            "no replicas on a node",
            "placement",
            json!({"maxReplicasPerNode": 0}),
        ),
        (
            "labels of the Director",
            "labels",
            json!({"com.atq.run": "mine"}),
        ),
        ("labels as a list", "labels", json!(["a=b"])),
        ("a label of line ends", "labels", json!({"a\r\nb": "c"})),
        ("a grace without end", "stopGracePeriod", json!(u64::MAX)),
        ("no probe", "readiness", json!({})),
        ("two probes", "readiness", json!({"tcp": 1, "exec": "true"})),
        ("a port too high", "readiness", json!({"tcp": 65_536})),
        (
            "a path with a second request",
            "readiness",
            json!({"http": {"port": 80, "path": "/ HTTP/1.1\r\nHost: x\r\n\r\nGET /"}}),
        ),
        (
            "a command with a NUL",
            "readiness",
            json!({"exec": "a\u{0}"}),
        ),
        (
            "a command too long",
            "readiness",
            json!({"exec": "x".repeat(200_000)}),
        ),
    ];
    fields.into_iter().map(|(what, field, value)| {
        let mut payload = payload("wrong-field");
        payload["worker"][field] = value;
        (what, payload.to_string().into_bytes())
    })
}

#[tokio::test]
async fn types_of_a_definition() {
    let director = Director::new().await;
    let good = [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/atq.task+json",
        "text/x+json",
        "application/x-www-form-urlencoded",
        "",
    ];
    let bad = [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "json",
        "text/json",
    ];
    let kinds = good
        .iter()
        .map(|kind| (*kind, 200))
        .chain(bad.iter().map(|kind| (*kind, 415)));
    for (kind, status) in kinds {
        let mut request = request("PUT", "/task", Body::from(payload("typed").to_string()));
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, kind.parse().unwrap());
        let answer = director.send(request).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "`{kind}`: {}",
            answer.text()
        );
        if status == 415 {
            check(&answer, kind);
            assert_eq!(
                answer.error(),
                format!("the content type is `{kind}`; expected `application/json`")
            );
        }
    }
    let mut request = request("PUT", "/task", Body::from("{}"));
    request.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_bytes(b"\xff\xfe").unwrap(),
    );
    check(&director.send(request).await, "bytes as type");
}

#[tokio::test]
async fn an_announced_length_is_believed() {
    let director = Director::new().await;
    let mut request = request("PUT", "/task", Body::from("{}"));
    request
        .headers_mut()
        .insert(header::CONTENT_LENGTH, "1048577".parse().unwrap());
    let answer = director.send(request).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than 1048576 bytes"
        )
    );
}

#[tokio::test]
async fn problems_of_the_original_routes_are_json() {
    let director = Director::new().await;
    let answer = director.get("/task/none-such").await;
    insta::assert_snapshot!(answer.text(), @r#"{"error":"there is no task `none-such`","code":"task_not_found","type":"about:blank","title":"Not Found","status":404,"detail":"there is no task `none-such`"}"#);
    assert_eq!(answer.kind(), "application/json");
}

#[tokio::test]
async fn a_panicking_handler_shows_no_internal_details() {
    let director = Director::new().await;
    director
        .swarm
        .on_call(|_, call| assert_ne!(call.method, "join_tokens", "insides"));
    let answer = director.get("/swarm").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.error(), "the Director failed; see its log");
    assert!(!answer.text().contains("insides"));
    assert_eq!(director.get("/monitoring/ping").await.text(), "pong");
}

#[tokio::test]
async fn a_client_that_stops_sending_its_body_gets_a_response() {
    let director = Director::new().await;
    tokio::time::pause();
    let started = stream::once(async { Ok::<_, std::io::Error>("{\"name\":") });
    let silent = Body::from_stream(started.chain(stream::pending()));
    let answer = director.send(request("PUT", "/task", silent)).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(!answer.error().is_empty());
}
