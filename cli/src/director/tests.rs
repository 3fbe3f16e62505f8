#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn urls_may_have_the_base_path_or_not() {
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
    let trouble = director.unreachable("no".to_owned()).to_string();
    assert!(!trouble.contains("secret"), "{trouble}");
    let trouble = Director::at("ftp://me:secret@a").unwrap_err().to_string();
    assert!(!trouble.contains("secret"), "{trouble}");
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
            Err(trouble) => assert!(!trouble.to_string().contains("cret"), "{trouble}"),
        }
    }
}

#[test]
fn what_is_no_url_is_told() {
    for url in [
        "127.0.0.1:8080",
        "director",
        "ftp://a",
        "",
        "http://a:1?x",
        "http://a:1#x",
    ] {
        let trouble = Director::at(url).unwrap_err();
        assert_eq!(trouble.exit(), crate::exit::Exit::Usage, "{url}");
    }
}

#[test]
fn a_director_may_move_but_not_become_something_else() {
    let moved = |from: &str, to: &str| {
        let base = Url::parse("https://me:secret@a/atq/api/").unwrap();
        let from = base.join(from).unwrap();
        new_base(&base, &from, &from.join(to).unwrap()).map(String::from)
    };
    let same = "https://me:secret@a/x/api/";
    assert_eq!(moved("task/l?y=1", "/x/api/task/l?y=1").unwrap(), same);
    // The password stays with its host.
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

mod answers {
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
            // Found out once: now also what cannot be sent twice arrives.
            let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("y")]);
            let request = old.request(Method::POST, "task").unwrap();
            let request = request.body(reqwest::Body::wrap_stream(pieces));
            let answer = old.send(request).await.unwrap().text().await.unwrap();
            assert_eq!(answer, "POST y false", "{code}");
        }
    }

    #[tokio::test]
    async fn a_redirect_to_a_login_or_in_a_circle_is_told() {
        let login = || async { (StatusCode::FOUND, [(header::LOCATION, "https://sso/login")]) };
        let away = director(Router::new().fallback(login)).await.director;
        let request = away.request(Method::POST, "task/x/stop").unwrap();
        let trouble = away.send(request).await.unwrap_err();
        assert!(
            trouble
                .to_string()
                .contains("redirects to `https://sso/login`"),
            "{trouble}"
        );
        let circle = |headers: HeaderMap, request: Request| async move {
            let host = headers[header::HOST].to_str().unwrap().to_owned();
            let to = format!("http://{host}/api{}", request.uri());
            (StatusCode::FOUND, [(header::LOCATION, to)])
        };
        let circle = director(Router::new().fallback(circle)).await.director;
        let trouble = circle.get::<Task>("task/x").await.unwrap_err();
        assert!(trouble.to_string().contains("in a circle"), "{trouble}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_busy_is_asked_again() {
        let body = json!({"x": 1}).to_string();
        for status in [429, 502, 503, 504] {
            let mut answers = vec![Answer::Refused(status); PAUSES.len()];
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
        let trouble = director.get::<Task>("x").await.unwrap_err();
        assert!(
            matches!(trouble, Trouble::Busy { status: 503, .. }),
            "{trouble:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_whose_answer_was_lost_is_asked_again() {
        let script = Script::new([Answer::Refused(502), Answer::Refused(404)]);
        let routes = Router::new().route("/task/x", any(|| async move { script.next() }));
        let director = director(routes).await.director;
        director.remove_task("x", None).await.unwrap();
        assert!(
            director
                .remove_task("x", None)
                .await
                .unwrap_err()
                .is_no_task()
        );
    }

    #[tokio::test]
    async fn a_gateway_that_finds_nothing_is_no_director() {
        let page = || async { (StatusCode::NOT_FOUND, "<h1>404</h1>").into_response() };
        let director = director(Router::new().fallback(page)).await.director;
        let trouble = director.task("x").await.unwrap_err();
        assert!(!trouble.is_absence() && !trouble.is_no_task());
        assert!(
            trouble.to_string().contains("not as a Director"),
            "{trouble}"
        );
    }
}
