//! Sessions of browsers: the page to sign in, the cookie, and the CSRF token.

use crate::fixture::{Answer, Director, payload, request};
use atq_access::Role;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

const FORM: &str = "application/x-www-form-urlencoded";
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn with_tokens() -> Director {
    Director::with("auth: tokens\n").await
}

fn with(mut request: Request<Body>, headers: &[(&'static str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        let name = HeaderName::from_static(name);
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(name, value);
    }
    request
}

fn get(path: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
    with(request("GET", path, Body::empty()), headers)
}

fn post(path: &str, form: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
    let request = request("POST", path, Body::from(form.to_owned()));
    with(with(request, &[("content-type", FORM)]), headers)
}

/// The cookie of an answer as a browser returns it.
fn cookie(headers: &HeaderMap) -> String {
    let set = headers[header::SET_COOKIE].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer.headers[header::LOCATION].to_str().unwrap()
}

/// A browser that has signed in, as the `cookie` and the CSRF token.
async fn signed_in(director: &Director, token: &str) -> (String, String) {
    let answer = director
        .send(post("/sign-in", &format!("token={token}"), &[]))
        .await;
    assert_eq!(location(&answer), "/sign-in");
    let cookie = cookie(&answer.headers);
    let session = director.send(get("/session", &[("cookie", &cookie)])).await;
    let csrf = session.json()["csrf"].as_str().unwrap().to_owned();
    (cookie, csrf)
}

#[tokio::test]
async fn a_token_is_exchanged_for_a_cookie() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Viewer).await;
    let form = format!("token=+{token}%0A&next=%2Ftask%3Flimit%3D1");
    let answer = director.send(post("/sign-in", &form, &[])).await;
    assert_eq!(location(&answer), "/task?limit=1");
    let set = answer.headers[header::SET_COOKIE].to_str().unwrap();
    let (value, attributes) = set.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
    );
    let value = value.strip_prefix("atq_session=").unwrap();
    assert_eq!(value.len(), 43, "256 bits");
    assert!(!token.contains(value));

    let cookie = cookie(&answer.headers);
    let own = [("cookie", cookie.as_str())];
    let tasks = director.send(get("/task?limit=1", &own)).await;
    assert_eq!(tasks.status, StatusCode::OK, "{}", tasks.text());
    let session = director.send(get("/session", &own)).await.json();
    assert_eq!(
        (&session["name"], &session["role"]),
        (&json!("ana"), &json!("viewer"))
    );
    // The role of the token holds.
    let refused = director.send(get("/swarm", &own)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.json()["code"], "forbidden");
    // Among other cookies, also other ones of the name.
    let mixed = format!("a=b; atq_session=x; {cookie}; c");
    let tasks = director.send(get("/task", &[("cookie", &mixed)])).await;
    assert_eq!(tasks.status, StatusCode::OK);
    for wrong in [
        "atq_session=",
        "atq_session=x",
        &format!("{cookie}x"),
        &format!("x{cookie}"),
    ] {
        let refused = director.send(get("/task", &[("cookie", wrong)])).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
}

#[tokio::test]
async fn wrong_tokens_are_refused_and_after_ten_of_them_without_a_reason_for_a_minute() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Viewer).await;
    let revoked = director.token_until("gone", Role::Viewer, None).await;
    director.access.tokens().revoke(revoked.id()).await.unwrap();
    let last = if token.ends_with('A') { 'E' } else { 'A' };
    let changed = format!("{}{last}", &token[..token.len() - 1]);
    for (wrong, reason) in [
        ("", "the token is malformed"),
        ("x", "the token is malformed"),
        (&changed, "the token is"),
        (&revoked.reveal(), "the token was revoked"),
    ] {
        let answer = director
            .send(post("/sign-in", &format!("token={wrong}&next=/task"), &[]))
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
        let text = answer.text();
        assert!(
            text.contains(&format!("You are not signed in: {reason}")),
            "{text}"
        );
        assert!(text.contains("name=\"next\" value=\"/task\""), "{text}");
        assert!(
            wrong.len() < 2 || !text.contains(wrong),
            "the token is shown"
        );
    }
    for _ in 0..6 {
        director.send(post("/sign-in", "token=x", &[])).await;
    }
    let refused = director
        .send(post("/sign-in", &format!("token={changed}"), &[]))
        .await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = refused.headers[header::RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(refused.text().contains("too many failed attempts"));
    // Valid tokens are not affected.
    let signed_in = director
        .send(post("/sign-in", &format!("token={token}"), &[]))
        .await;
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
    let tasks = director.send_as(&token, get("/task", &[])).await;
    assert_eq!(tasks.status, StatusCode::OK);
}

#[tokio::test]
async fn a_browser_continues_only_on_the_director() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Viewer).await;
    for (next, target) in [
        (
            "/task/x/report?format=html%26baseline=y",
            "/task/x/report?format=html&baseline=y",
        ),
        ("", "/sign-in"),
        ("//evil.example", "/sign-in"),
        ("/%5Cevil.example", "/sign-in"),
        ("https://evil.example", "/sign-in"),
        ("/%0d%0aset-cookie:x", "/sign-in"),
        ("/%09/evil.example", "/sign-in"),
    ] {
        let form = format!("next={next}&token={token}");
        let answer = director.send(post("/sign-in", &form, &[])).await;
        assert_eq!(location(&answer), target, "{next}");
        let page = director
            .send(get(&format!("/sign-in?next={next}"), &[]))
            .await
            .text();
        assert_eq!(
            page.contains("name=\"next\""),
            target != "/sign-in",
            "{next}"
        );
    }
}

#[tokio::test]
async fn browsers_are_sent_to_the_page_and_programs_get_the_error() {
    let director = with_tokens().await;
    for (path, target) in [
        ("/task/x/report", "/sign-in?next=%2Ftask%2Fx%2Freport"),
        (
            "/api/task/?limit=1",
            "/api/sign-in?next=%2Fapi%2Ftask%2F%3Flimit%3D1",
        ),
    ] {
        let answer = director.get_as(path, BROWSER).await;
        assert_eq!(location(&answer), target);
        let navigation = [("accept", BROWSER), ("sec-fetch-mode", "navigate")];
        let answer = director.send(get(path, &navigation)).await;
        assert_eq!(location(&answer), target);
        let script = [("accept", BROWSER), ("sec-fetch-mode", "cors")];
        let refused = director.send(get(path, &script)).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        for accept in [
            "*/*",
            "application/json",
            "application/json, text/html;q=0.5",
            "",
        ] {
            let refused = director.get_as(path, accept).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{accept}");
            assert_eq!(refused.json()["code"], "unauthenticated", "{accept}");
        }
    }
    let stop = with(
        request("POST", "/task/x/stop", Body::empty()),
        &[("accept", BROWSER)],
    );
    assert_eq!(director.send(stop).await.status, StatusCode::UNAUTHORIZED);
    // A client with too small a role would only come back.
    let token = director.token("ana", Role::Viewer).await;
    let refused = director
        .send_as(&token, get("/swarm", &[("accept", BROWSER)]))
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_start_page_leads_a_browser_to_the_page_to_sign_in() {
    let director = with_tokens().await;
    for (path, target) in [("/", "/sign-in"), ("/api/", "/api/sign-in")] {
        let answer = director.send(get(path, &[("accept", BROWSER)])).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(location(&answer), target);
        let program = director.send(get(path, &[("accept", "*/*")])).await;
        assert_eq!(program.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_cookie_changes_nothing_without_the_csrf_token_of_its_session() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Runner).await;
    let (cookie, csrf) = signed_in(&director, &token).await;
    let (_, other) = signed_in(&director, &token).await;
    let put = |headers: &[(&'static str, &str)]| {
        with(
            request("PUT", "/task", Body::from(payload("mine").to_string())),
            headers,
        )
    };
    for headers in [
        &[("cookie", cookie.as_str())] as &[(&'static str, &str)],
        &[("cookie", &cookie), ("x-atq-csrf", "")],
        &[("cookie", &cookie), ("x-atq-csrf", &other)],
        &[("cookie", &cookie), ("sec-fetch-site", "same-origin")],
    ] {
        let refused = director.send(put(headers)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(refused.json()["code"], "csrf");
    }
    let refused = director.send(put(&[("x-atq-csrf", &csrf)])).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    // The checks of the origin hold as well.
    let foreign = [
        ("cookie", cookie.as_str()),
        ("x-atq-csrf", &csrf),
        ("origin", "http://evil.example"),
    ];
    let refused = director.send(put(&foreign)).await;
    assert_eq!(refused.json()["code"], "foreign_page");
    assert_eq!(
        director
            .send_as(&token, get("/task/mine", &[]))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    // A token needs none, also beside a cookie.
    let answer = director.send_as(&token, put(&[("cookie", &cookie)])).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let proven = [("cookie", cookie.as_str()), ("x-atq-csrf", &csrf)];
    let stop = with(request("POST", "/task/mine/stop", Body::empty()), &proven);
    assert_eq!(director.send(stop).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Viewer).await;
    let (cookie, csrf) = signed_in(&director, &token).await;
    let own = [("cookie", cookie.as_str())];
    let page = director.send(get("/sign-in", &own)).await.text();
    assert!(
        page.contains("You are signed in as <strong>ana</strong>"),
        "{page}"
    );
    assert!(
        page.contains(&format!("name=\"csrf\" value=\"{csrf}\"")),
        "{page}"
    );
    let refused = director.send(post("/sign-out", "csrf=x", &own)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(
        director.send(get("/task", &own)).await.status,
        StatusCode::OK
    );
    let out = director
        .send(post("/sign-out", &format!("csrf={csrf}"), &own))
        .await;
    assert_eq!(location(&out), "/sign-in");
    let cleared = out.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(
        cleared.starts_with("atq_session=; Path=/; Max-Age=0; "),
        "{cleared}"
    );
    assert_eq!(
        director.send(get("/task", &own)).await.status,
        StatusCode::UNAUTHORIZED
    );
    // Again, and without a session, it is no error.
    let again = director.send(post("/sign-out", "", &own)).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn signing_out_ends_the_streams_of_the_session_and_no_others() {
    let director = with_tokens().await;
    let runner = director.token("ben", Role::Runner).await;
    let put = request("PUT", "/task", Body::from(payload("live").to_string()));
    director.send_as(&runner, put).await;
    let token = director.token("ana", Role::Viewer).await;
    let (first, csrf) = signed_in(&director, &token).await;
    let (other, _) = signed_in(&director, &token).await;
    let follow = |cookie: &str| {
        let accept = ("accept", "text/event-stream");
        director.send(get("/task/live/events", &[("cookie", cookie), accept]))
    };
    let remains = follow(&other);
    tokio::pin!(remains);
    let sign_out = async {
        let form = format!("csrf={csrf}");
        let out = director
            .send(post("/sign-out", &form, &[("cookie", &first)]))
            .await;
        assert_eq!(out.status, StatusCode::SEE_OTHER);
    };
    let both = async { tokio::join!(follow(&first), sign_out) };
    tokio::select! {
        ended = timeout(Duration::from_secs(30), both) => {
            let (answer, ()) = ended.expect("the stream has not ended");
            assert_eq!(answer.status, StatusCode::OK);
        }
        _ = &mut remains => panic!("the stream of the other session has ended"),
    }
    // Neither the page to sign out nor the check ends the other one.
    assert!(timeout(Duration::from_secs(2), remains).await.is_err());
}

#[tokio::test]
async fn signing_in_again_replaces_the_session_of_the_browser() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Viewer).await;
    let (first, _) = signed_in(&director, &token).await;
    let form = format!("token={token}");
    let second = director
        .send(post("/sign-in", &form, &[("cookie", &first)]))
        .await;
    let second = cookie(&second.headers);
    assert_ne!(first, second);
    let status = async |cookie: &str| {
        director
            .send(get("/task", &[("cookie", cookie)]))
            .await
            .status
    };
    assert_eq!(status(&first).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&second).await, StatusCode::OK);
}

#[tokio::test]
async fn a_revoked_or_expired_token_ends_its_sessions() {
    let director = with_tokens().await;
    let revoked = director.token_until("ana", Role::Viewer, None).await;
    let now = atq_director::tokens::now();
    let expires = director
        .token_until("ben", Role::Viewer, Some(now + 3))
        .await;
    let (of_revoked, _) = signed_in(&director, &revoked.reveal()).await;
    let (of_expired, _) = signed_in(&director, &expires.reveal()).await;
    director.access.tokens().revoke(revoked.id()).await.unwrap();
    let status = async |cookie: &str| {
        director
            .send(get("/task", &[("cookie", cookie)]))
            .await
            .status
    };
    assert_eq!(status(&of_revoked).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&of_expired).await, StatusCode::OK);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(status(&of_expired).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn with_tls_in_front_the_cookie_is_sent_by_tls_only() {
    let director = Director::with("auth: tokens\npublicUrl: https://atq.example\n").await;
    let token = director.token("ana", Role::Viewer).await;
    let answer = director
        .send(post("/sign-in", &format!("token={token}"), &[]))
        .await;
    let set = answer.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with("__Host-atq_session="), "{set}");
    assert!(
        set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"),
        "{set}"
    );
    let cookie = cookie(&answer.headers);
    let tasks = director.send(get("/task", &[("cookie", &cookie)])).await;
    assert_eq!(tasks.status, StatusCode::OK);
    // Without the prefix, another host of the domain could have set it.
    let other = cookie.replace("__Host-", "");
    let refused = director.send(get("/task", &[("cookie", &other)])).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

/// Another site must not sign a browser in as someone else.
#[tokio::test]
async fn a_page_of_another_site_cannot_sign_in_or_out() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Viewer).await;
    let (cookie, csrf) = signed_in(&director, &token).await;
    for (path, form) in [
        ("/sign-in", format!("token={token}")),
        ("/sign-out", format!("csrf={csrf}")),
    ] {
        let foreign = [
            ("cookie", cookie.as_str()),
            ("origin", "http://evil.example"),
        ];
        let refused = director.send(post(path, &form, &foreign)).await;
        assert_eq!(refused.json()["code"], "foreign_page", "{path}");
        assert!(!refused.headers.contains_key(header::SET_COOKIE));
    }
    assert_eq!(
        director
            .send(get("/task", &[("cookie", &cookie)]))
            .await
            .status,
        StatusCode::OK
    );
}

/// The cookie is not in a request that a link of another site causes.
#[tokio::test]
async fn a_link_of_another_site_leads_to_the_page_that_it_names() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Viewer).await;
    let (cookie, _) = signed_in(&director, &token).await;
    let target = "/sign-in?next=%2Ftask%2Fx%2Freport";
    let page = director
        .send(get(target, &[("sec-fetch-site", "cross-site")]))
        .await
        .text();
    assert!(
        page.contains(&format!("content=\"0; url={target}\"")),
        "{page}"
    );
    assert!(page.contains(&format!("href=\"{target}\"")), "{page}");
    let own = [
        ("sec-fetch-site", "same-origin"),
        ("cookie", cookie.as_str()),
    ];
    let answer = director.send(get(target, &own)).await;
    assert_eq!(location(&answer), "/task/x/report");
    let without = director.send(get(target, &own[..1])).await.text();
    assert!(without.contains("name=\"token\""), "{without}");
}

#[tokio::test]
async fn the_base_path_of_the_request_is_kept() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Viewer).await;
    let page = director.send(get("/api/sign-in", &[])).await.text();
    assert!(page.contains("action=\"/api/sign-in\""), "{page}");
    let answer = director
        .send(post("/api/sign-in", &format!("token={token}"), &[]))
        .await;
    assert_eq!(location(&answer), "/api/sign-in");
    let cookie = cookie(&answer.headers);
    let page = director
        .send(get("/api/sign-in/", &[("cookie", &cookie)]))
        .await
        .text();
    for part in ["action=\"/api/sign-out\"", "href=\"/api/swagger-ui/\""] {
        assert!(page.contains(part), "{page}");
    }
}

#[tokio::test]
async fn without_authentication_there_is_no_form() {
    let director = Director::new().await;
    let page = director.get("/sign-in").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text().contains("Authentication is off"),
        "{}",
        page.text()
    );
    assert!(!page.text().contains("<input"));
    let answer = director.send(post("/sign-in", "token=x", &[])).await;
    assert!(!answer.headers.contains_key(header::SET_COOKIE));
    let session = director.get("/session").await.json();
    assert_eq!(session, json!({"name": "anonymous", "role": "admin"}));
}

#[tokio::test]
async fn the_audit_log_has_who_signed_in_and_no_secret() {
    let director = with_tokens().await;
    let token = director.token("ana", Role::Runner).await;
    director
        .send(post("/sign-in", "token=atq_wrong", &[]))
        .await;
    let (cookie, csrf) = signed_in(&director, &token).await;
    let own = [("cookie", cookie.as_str()), ("x-atq-csrf", &csrf)];
    let put = request("PUT", "/task", Body::from(payload("mine").to_string()));
    director.send(with(put, &own)).await;
    director.send(post("/sign-out", "csrf=x", &own[..1])).await;
    director
        .send(post("/sign-out", &format!("csrf={csrf}"), &own))
        .await;
    let lines = director.audit().await;
    let found: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!([
                line["path"],
                line["outcome"],
                line["name"],
                line["via"],
                line["status"]
            ])
        })
        .collect();
    assert_eq!(
        found,
        [
            json!(["/sign-in", "refused", null, null, 401]),
            json!(["/sign-in", "changed", "ana", "session", 303]),
            json!(["/task", "changed", "ana", "session", 200]),
            json!(["/sign-out", "refused", "ana", "session", 403]),
            json!(["/sign-out", "changed", "ana", "session", 303]),
        ]
    );
    let text = json!(lines).to_string();
    let value = cookie.split('=').nth(1).unwrap();
    for secret in [
        value,
        &csrf,
        token.splitn(3, '_').last().unwrap(),
        "atq_wrong",
    ] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_form_that_is_too_large_is_refused() {
    let director = with_tokens().await;
    let large = format!("token={}", "x".repeat(20_000));
    let answer = director.send(post("/sign-in", &large, &[])).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}
