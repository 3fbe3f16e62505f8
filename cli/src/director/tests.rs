#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn the_base_path_of_a_url_is_optional() {
    for url in [
        "http://a:1",
        "http://a:1/",
        "http://a:1/api",
        "http://a:1/api/",
    ] {
        let director = Director::at(url).unwrap();
        assert_eq!(director.url(), "http://a:1");
        let request = director
            .request(Method::GET, "task/x?y=1")
            .unwrap()
            .build()
            .unwrap();
        assert_eq!(request.url().as_str(), "http://a:1/api/task/x?y=1");
    }
    assert_eq!(
        Director::at("https://b/atq").unwrap().url(),
        "https://b/atq"
    );
}

#[test]
fn a_password_is_not_shown() {
    let director = Director::at("http://me:secret@a:1/api").unwrap();
    assert_eq!(director.url(), "http://a:1");
    let error = director.unreachable("no".to_owned()).to_string();
    assert!(!error.contains("secret"), "{error}");
    let error = Director::at("ftp://me:secret@a").unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn no_part_of_a_password_is_shown() {
    for url in [
        "http://me:se/cret@a:1",
        "http://me:12#secret@a:1",
        "http://me:12/secret@a:1",
        "http://me:12?secret@a",
        "http://me:se@cret@a:99999",
        "me:secret@a",
        "http://me:secret@",
    ] {
        match Director::at(url) {
            Ok(director) => assert!(!director.url().contains("cret"), "{url}"),
            Err(error) => assert!(!error.to_string().contains("cret"), "{error}"),
        }
    }
}

#[test]
fn invalid_urls_are_rejected() {
    for url in [
        "127.0.0.1:8080",
        "director",
        "ftp://a",
        "",
        "http://a:1?x",
        "http://a:1#x",
        "unix://atq.sock",
        "unix:///run/",
    ] {
        let error = Director::at(url).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Usage, "{url}");
    }
}

#[test]
fn equal_urls_are_recognised() {
    for (one, other) in [
        ("http://A:80/api/", "http://a"),
        ("https://me:pw@a:443/x", "https://a/x"),
        ("unix:///a%20b", "unix:///a b"),
    ] {
        assert!(is_same_url(one, other), "{one} {other}");
    }
    for (one, other) in [
        ("http://a", "https://a"),
        ("http://a", "http://a/x"),
        ("x", "x"),
    ] {
        assert!(!is_same_url(one, other), "{one} {other}");
    }
}

#[test]
fn a_redirect_must_keep_the_path() {
    let moved = |from: &str, to: &str| {
        let base = Url::parse("https://me:secret@a/atq/api/").unwrap();
        let from = base.join(from).unwrap();
        new_base(&base, &from, &from.join(to).unwrap()).map(String::from)
    };
    let same = "https://me:secret@a/x/api/";
    assert_eq!(moved("task/l?y=1", "/x/api/task/l?y=1").unwrap(), same);
    // The password is not sent to another host.
    assert_eq!(
        moved("task", "https://b/api/task").unwrap(),
        "https://b/api/"
    );
    for to in [
        "http://a/atq/api/task",
        "https://b/login?next=/api/task",
        "https://b/api/task?x=1",
        "https://b/task",
        "ftp://b/api/task",
    ] {
        assert_eq!(moved("task", to), None, "{to}");
    }
}

mod responses {
    use super::*;
    use crate::tests::{Answer, Script, director};
    use axum::Router;
    use axum::extract::Request;
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::IntoResponse;
    use axum::routing::any;
    use serde_json::json;

    async fn to(url: String, code: u16) -> Director {
        let redirect = move |request: Request| async move {
            let to = format!("{url}/api{}", request.uri());
            (
                StatusCode::from_u16(code).unwrap(),
                [(header::LOCATION, to)],
            )
        };
        director(Router::new().fallback(redirect)).await.director
    }

    #[tokio::test]
    async fn a_redirect_keeps_method_and_body() {
        let echo = |request: Request| async move {
            let method = request.method().to_string();
            let has_password = request.headers().contains_key(header::AUTHORIZATION);
            let body = axum::body::to_bytes(request.into_body(), 100)
                .await
                .unwrap();
            format!("{method} {} {has_password}", String::from_utf8_lossy(&body))
        };
        let target = director(Router::new().route("/task", any(echo))).await;
        for code in [301, 302, 307, 308] {
            let old = to(target.director.url().to_owned(), code).await;
            let request = old.request(Method::PUT, "task").unwrap();
            let request = request.basic_auth("me", Some("secret")).body("x");
            let answer = old.send(request).await.unwrap().text().await.unwrap();
            assert_eq!(answer, "PUT x false", "{code}");
            // The redirect is known now, so a body that cannot be sent twice arrives, too.
            let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("y")]);
            let request = old.request(Method::POST, "task").unwrap();
            let request = request.body(reqwest::Body::wrap_stream(pieces));
            let answer = old.send(request).await.unwrap().text().await.unwrap();
            assert_eq!(answer, "POST y false", "{code}");
        }
    }

    #[tokio::test]
    async fn a_redirect_to_a_login_and_a_redirect_loop_are_errors() {
        let login = || async { (StatusCode::FOUND, [(header::LOCATION, "https://sso/login")]) };
        let away = director(Router::new().fallback(login)).await.director;
        let request = away.request(Method::POST, "task/x/stop").unwrap();
        let error = away.send(request).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("with a redirect to `https://sso/login`"),
            "{error}"
        );
        let circle = |headers: HeaderMap, request: Request| async move {
            let host = headers[header::HOST].to_str().unwrap().to_owned();
            let to = format!("http://{host}/api{}", request.uri());
            (StatusCode::FOUND, [(header::LOCATION, to)])
        };
        let circle = director(Router::new().fallback(circle)).await.director;
        let error = circle.get::<Task>("task/x").await.unwrap_err();
        assert!(error.to_string().contains("too many redirects"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_director_is_retried() {
        let body = json!({"x": 1}).to_string();
        for status in [429, 502, 503, 504] {
            let mut answers = vec![Answer::Refused(status); RETRY_PAUSES.len()];
            answers.push(Answer::Whole(body.clone()));
            let script = Script::new(answers);
            let routes = Router::new().route("/x", any(|| async move { script.next() }));
            let director = director(routes).await.director;
            let answer: serde_json::Value = director.get("x").await.unwrap();
            assert_eq!(answer["x"], 1);
        }
        let refuse = || async {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                [(header::RETRY_AFTER, "31")],
            )
        };
        let director = director(Router::new().fallback(refuse)).await.director;
        let error = director.get::<Task>("x").await.unwrap_err();
        assert!(
            matches!(error, CliError::Busy { status: 503, .. }),
            "{error:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_with_a_lost_response_is_repeated() {
        let script = Script::new([Answer::Refused(502), Answer::Refused(404)]);
        let routes = Router::new().route("/task/x", any(|| async move { script.next() }));
        let director = director(routes).await.director;
        director
            .remove("task/x", CLEAN_UP_TIMEOUT, None)
            .await
            .unwrap();
        assert!(
            director
                .remove("task/x", CLEAN_UP_TIMEOUT, None)
                .await
                .unwrap_err()
                .is_task_not_found()
        );
    }

    /// Responds with the token of the request.
    async fn token_of(headers: HeaderMap) -> impl IntoResponse {
        let text = |name: header::HeaderName| {
            let value = headers.get(name).map(|value| value.to_str().unwrap());
            value.map(str::to_owned)
        };
        let own = (text(header::AUTHORIZATION), text(TOKEN_HEADER));
        axum::Json(own)
    }

    type SentToken = (Option<String>, Option<String>);

    fn own_token() -> Option<ClientToken> {
        let text = crate::token::tests::token(7).reveal();
        Some(ClientToken::parse(&text, "`ATQ_TOKEN`").unwrap())
    }

    fn secret() -> String {
        own_token().unwrap().token.reveal()
    }

    #[tokio::test]
    async fn the_token_is_sent_as_bearer_token() {
        let routes = Router::new().fallback(token_of);
        let director = director(routes).await.director;
        let sent: SentToken = director.get("x").await.unwrap();
        assert_eq!(sent, (None, None));
        let signed = director.clone().with_token(own_token());
        let sent: SentToken = signed.get("x").await.unwrap();
        assert_eq!(sent, (Some(format!("Bearer {}", secret())), None));
        // A proxy needs `Authorization` for itself.
        let url = director.url().replace("://", "://ci:pw@");
        let behind_proxy = Director::at(&url).unwrap().with_token(own_token());
        let (basic, own): SentToken = behind_proxy.get("x").await.unwrap();
        assert!(basic.unwrap().starts_with("Basic "));
        assert_eq!(own, Some(secret()));
    }

    #[tokio::test]
    async fn a_redirect_to_another_host_does_not_get_the_token() {
        let target = director(Router::new().fallback(token_of)).await;
        for user in ["", "ci:pw@"] {
            let old = to(target.director.url().to_owned(), 307).await;
            let url = old.url().replace("://", &format!("://{user}"));
            let old = Director::at(&url).unwrap().with_token(own_token());
            // The second request goes to the new host directly.
            for _ in 0..2 {
                let sent: SentToken = old.get("task/x").await.unwrap();
                assert_eq!(sent, (None, None), "{user}");
            }
        }
    }

    #[tokio::test]
    async fn the_hint_after_a_redirect_names_the_url_to_use() {
        let refuse = || async {
            let body = json!({"error": "a token is required", "code": "unauthenticated"});
            (StatusCode::UNAUTHORIZED, axum::Json(body))
        };
        let target = director(Router::new().fallback(refuse)).await;
        let new = target.director.url().to_owned();
        let old = to(new.clone(), 307).await.with_token(own_token());
        let error = old.get::<Task>("task/x").await.unwrap_err();
        assert!(
            error.hint().contains(&format!("use `{new}`")),
            "{}",
            error.hint()
        );
    }

    #[tokio::test]
    async fn a_redirect_on_the_same_host_keeps_the_token() {
        let routes = Router::new()
            .route(
                "/old/api/x",
                any(|| async {
                    (
                        StatusCode::TEMPORARY_REDIRECT,
                        [(header::LOCATION, "/api/x")],
                    )
                }),
            )
            .route("/api/x", any(token_of));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/old", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let director = Director::at(&url).unwrap().with_token(own_token());
        for _ in 0..2 {
            let sent: SentToken = director.get("x").await.unwrap();
            assert_eq!(sent, (Some(format!("Bearer {}", secret())), None));
        }
    }

    async fn refusal(status: u16, code: &str, token: Option<ClientToken>) -> CliError {
        let body = json!({"error": "the role `runner` is required", "code": code});
        let status = StatusCode::from_u16(status).unwrap();
        let refuse = move || async move { (status, axum::Json(body)) };
        let director = director(Router::new().fallback(refuse)).await.director;
        let asked = director.with_token(token).get::<Task>("task/x").await;
        asked.unwrap_err()
    }

    #[tokio::test]
    async fn denied_access_has_its_own_exit_code_and_the_next_step() {
        for (status, code, token, hint) in [
            (
                401,
                "unauthenticated",
                None,
                "log in with `atq login http://127.0.0.1:",
            ),
            (
                401,
                "unauthenticated",
                own_token(),
                "the Director received the token `0102030407` of `ATQ_TOKEN`; `atq login",
            ),
            (403, "forbidden", own_token(), "ask an administrator"),
        ] {
            let error = refusal(status, code, token).await;
            assert_eq!(error.exit(), crate::exit::Exit::AccessDenied);
            assert_eq!(error.to_string(), "the role `runner` is required");
            assert!(error.hint().contains(hint), "{}", error.hint());
            assert!(!crate::retry::is_temporary(&error));
            assert!(!format!("{error:?}").contains(&secret()));
        }
    }

    #[tokio::test]
    async fn other_refusals_are_no_denied_access() {
        let page = refusal(403, "foreign_page", own_token()).await;
        assert_eq!(
            (page.exit(), page.hint()),
            (crate::exit::Exit::Rejected, "")
        );
        let host = refusal(421, "foreign_host", own_token()).await;
        assert_eq!(host.exit(), crate::exit::Exit::Rejected);
        assert!(host.hint().contains("allowedHosts") && host.hint().contains("publicUrl"));
    }

    #[tokio::test]
    async fn a_director_that_requires_https_is_recognised() {
        let error = refusal(400, "https_required", None).await;
        assert!(matches!(error, CliError::Untrusted { .. }), "{error:?}");
        assert!(error.hint().contains("`https://`"), "{}", error.hint());
    }

    #[tokio::test]
    async fn a_proxy_that_requires_credentials_is_recognised() {
        let page = || async { (StatusCode::UNAUTHORIZED, "<h1>401</h1>").into_response() };
        let director = director(Router::new().fallback(page)).await.director;
        let error = director
            .with_token(own_token())
            .task("x")
            .await
            .unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::AccessDenied);
        assert!(
            error.hint().contains("user:password@host"),
            "{}",
            error.hint()
        );
    }

    #[tokio::test]
    async fn no_output_of_a_director_has_the_token() {
        let director = Director::at("http://10.0.0.1:1")
            .unwrap()
            .with_token(own_token());
        let request = director.request(Method::GET, "task").unwrap();
        let shown = format!(
            "{director:?} {request:?} {:?}",
            request.try_clone().unwrap().build()
        );
        let secret = secret();
        let secret = secret.splitn(3, '_').last().unwrap();
        assert!(!shown.contains(secret), "{shown}");
        assert!(director.has_token() && director.is_unencrypted());
        let is_unencrypted = |url: &str| Director::at(url).unwrap().is_unencrypted();
        assert!(!is_unencrypted("http://localhost:8080") && !is_unencrypted("unix:///x"));
    }

    mod socket {
        use super::*;
        use axum::body::Body;
        use axum::extract::DefaultBodyLimit;
        use futures_util::StreamExt;
        use std::time::Duration;

        /// Serves the routes at a socket; returns its directory and a client.
        async fn at_socket(routes: Router) -> (tempfile::TempDir, Director) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a b.sock");
            let listener = tokio::net::UnixListener::bind(&path).unwrap();
            tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
            let url = format!("unix://{}", path.display().to_string().replace(' ', "%20"));
            (dir, Director::at(&url).unwrap())
        }

        #[tokio::test]
        async fn requests_go_through_the_socket_with_the_token() {
            let (dir, director) = at_socket(Router::new().route("/api/x", any(token_of))).await;
            let shown = format!("unix://{}/a b.sock", dir.path().display());
            assert_eq!(director.url(), shown);
            let director = director.with_token(own_token());
            let (sent, _): SentToken = director.get("x").await.unwrap();
            assert_eq!(sent, Some(format!("Bearer {}", secret())));
        }

        #[tokio::test]
        async fn a_response_is_streamed_through_the_socket() {
            let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
            let receiver = Arc::new(Mutex::new(Some(receiver)));
            let lines = move || async move {
                let receiver = receiver.lock().unwrap().take().unwrap();
                Body::from_stream(futures_util::stream::unfold(
                    receiver,
                    |mut receiver| async {
                        let line = receiver.recv().await?;
                        Some((Ok::<_, std::io::Error>(line), receiver))
                    },
                ))
            };
            let (_dir, director) = at_socket(Router::new().route("/api/logs", any(lines))).await;
            sender.send("one").unwrap();
            let request = director.request(Method::GET, "logs").unwrap();
            let mut body = director.send(request).await.unwrap().bytes_stream();
            assert_eq!(body.next().await.unwrap().unwrap(), "one");
            // The response is still open.
            sender.send("two").unwrap();
            assert_eq!(body.next().await.unwrap().unwrap(), "two");
            drop(sender);
            assert!(body.next().await.is_none());
        }

        #[tokio::test]
        async fn a_large_upload_is_streamed_through_the_socket() {
            let count = |request: Request| async move {
                let body = request.into_body().into_data_stream();
                let total = body.fold(0, async |sum, part| sum + part.unwrap().len());
                total.await.to_string()
            };
            let routes = Router::new().route("/api/upload", any(count));
            let (_dir, director) = at_socket(routes.layer(DefaultBodyLimit::disable())).await;
            let parts = futures_util::stream::iter(
                (0..64).map(|_| Ok::<_, std::io::Error>(vec![7; 1 << 20])),
            );
            let request = director.request(Method::POST, "upload").unwrap();
            let request = request.body(reqwest::Body::wrap_stream(parts));
            let response = director.send_within(request, Duration::from_secs(60)).await;
            assert_eq!(
                response.unwrap().text().await.unwrap(),
                (64 << 20).to_string()
            );
        }

        #[tokio::test]
        async fn a_redirect_never_leaves_the_socket() {
            let away = |request: Request| async move {
                let to = format!("http://127.0.0.1:1{}", request.uri());
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)])
            };
            let (_dir, director) = at_socket(Router::new().fallback(away)).await;
            let error = director.get::<Task>("task/x").await.unwrap_err();
            assert!(
                error.to_string().contains("not a URL of a Director"),
                "{error}"
            );
        }

        #[tokio::test(start_paused = true)]
        async fn a_missing_socket_is_an_unreachable_director() {
            let director = Director::at("unix:///no/such/atq.sock").unwrap();
            let error = director.get::<Task>("task/x").await.unwrap_err();
            assert_eq!(error.exit(), crate::exit::Exit::Unreachable);
            let text = error.to_string();
            assert!(
                text.contains("`unix:///no/such/atq.sock`: No such file"),
                "{text}"
            );
            assert!(error.hint().contains("socketGroup"), "{}", error.hint());
        }
    }

    #[tokio::test]
    async fn a_404_of_a_gateway_is_not_from_a_director() {
        let page = || async { (StatusCode::NOT_FOUND, "<h1>404</h1>").into_response() };
        let director = director(Router::new().fallback(page)).await.director;
        let error = director.task("x").await.unwrap_err();
        assert!(!error.is_not_found() && !error.is_task_not_found());
        assert!(error.to_string().contains("not as a Director"), "{error}");
    }
}
