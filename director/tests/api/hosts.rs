//! The hosts under which the Director may be addressed, and requests of pages of other sites.

use crate::fixture::{Director, payload, request};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, Version};

fn with(mut request: Request<Body>, headers: &[(&'static str, &'static str)]) -> Request<Body> {
    let own = request.headers_mut();
    for (name, _) in headers {
        own.remove(*name);
    }
    for (name, value) in headers {
        own.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    request
}

fn get(path: &str, headers: &[(&'static str, &'static str)]) -> Request<Body> {
    with(request("GET", path, Body::empty()), headers)
}

/// Paths of all kinds: resources, pages, probes, unknown ones.
const PATHS: [&str; 9] = [
    "/monitoring/ping",
    "/api/monitoring/ping",
    "/swarm",
    "/api/task",
    "/healthz",
    "/readyz",
    "/api-docs/openapi.json",
    "/swagger-ui/",
    "/nowhere",
];

#[tokio::test]
async fn a_foreign_host_is_refused_on_every_path() {
    let director = Director::new().await;
    for path in PATHS {
        let answer = director
            .send(get(path, &[("host", "evil.example:8080")]))
            .await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(answer.error().contains("`evil.example`"), "{path}");
        assert_eq!(answer.json()["code"], "foreign_host", "{path}");
    }
}

#[tokio::test]
async fn addresses_and_configured_names_are_accepted() {
    let more = "publicUrl: https://atq.example/x\nadvertiseUrl: http://node-1:8080\nallowedHosts: [director, \"a.b\"]\n";
    let director = Director::with(more).await;
    for host in [
        "localhost:1",
        "[::1]:8080",
        "192.0.2.7",
        "atq.example",
        "NODE-1:8080",
        "director",
        "a.b.",
    ] {
        let mut request = get("/monitoring/ping", &[]);
        let host = HeaderValue::from_static(host);
        request.headers_mut().insert("host", host.clone());
        let answer = director.send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{host:?}");
    }
}

#[tokio::test]
async fn a_missing_and_a_repeated_host_are_refused_but_http_1_0_needs_none() {
    let director = Director::new().await;
    let mut without = get("/healthz", &[]);
    without.headers_mut().remove("host");
    let answer = director.send(without).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let twice = [("host", "localhost"), ("host", "localhost")];
    let answer = director.send(get("/healthz", &twice)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["code"], "bad_host");
    let mut old = get("/healthz", &[]);
    old.headers_mut().remove("host");
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(director.send(old).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_host_in_the_target_counts_too() {
    let director = Director::new().await;
    let target = get("http://evil.example/healthz", &[("host", "localhost")]);
    let answer = director.send(target).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_page_of_another_site_can_start_stop_and_delete_nothing() {
    let director = Director::new().await;
    let body = || Body::from(payload("foreign").to_string());
    let requests = || {
        [
            request("PUT", "/task", body()),
            request("POST", "/task/foreign/stop", Body::empty()),
            request("DELETE", "/task/foreign", Body::empty()),
            request("POST", "/databind/upload", Body::empty()),
        ]
    };
    for headers in [
        &[("origin", "http://evil.example")] as &[_],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("origin", "http://127.0.0.1:9999")],
    ] {
        for request in requests() {
            let what = format!("{} {headers:?}", request.uri());
            let answer = director.send(with(request, headers)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
            assert_eq!(answer.json()["code"], "foreign_page", "{what}");
        }
    }
    let own = [
        ("origin", "http://127.0.0.1:8080"),
        ("sec-fetch-site", "same-origin"),
    ];
    let answer = director
        .send(with(request("PUT", "/task", body()), &own))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}
