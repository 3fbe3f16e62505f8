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
    ] {
        let error = Director::at(url).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Usage, "{url}");
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

    #[tokio::test]
    async fn a_404_of_a_gateway_is_not_from_a_director() {
        let page = || async { (StatusCode::NOT_FOUND, "<h1>404</h1>").into_response() };
        let director = director(Router::new().fallback(page)).await.director;
        let error = director.task("x").await.unwrap_err();
        assert!(!error.is_not_found() && !error.is_task_not_found());
        assert!(error.to_string().contains("not as a Director"), "{error}");
    }
}
