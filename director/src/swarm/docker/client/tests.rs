#![allow(clippy::unwrap_used)]
use super::*;
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;

#[test]
fn versions_compare_by_number() {
    assert!(parse_version("1.9").unwrap() < parse_version("1.41").unwrap());
    assert_eq!(parse_version("one"), None);
}

/// An Engine whose newest API is 1.`minor`, at 127.0.0.1; answers `/vX/x` with the path it was asked for.
async fn engine(minor: Arc<AtomicU32>) -> Client {
    let ping = {
        let minor = minor.clone();
        move || async move { [("api-version", format!("1.{}", minor.load(Ordering::SeqCst)))] }
    };
    let other = move |uri: Uri| async move {
        let newest = minor.load(Ordering::SeqCst);
        let asked: u32 = uri.path()[4..6].parse().unwrap();
        match asked > newest {
            false => axum::Json(uri.path().to_owned()).into_response(),
            true => {
                let text = format!(
                    "client version 1.{asked} is too new. Maximum supported API version is 1.{newest}"
                );
                (StatusCode::BAD_REQUEST, text).into_response()
            }
        }
    };
    let router = Router::new()
        .route("/_ping", axum::routing::get(ping))
        .fallback(other);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(Address::find(Some(&host)).unwrap())
}

#[tokio::test]
async fn the_older_version_is_spoken_and_learned_anew_after_a_change() {
    let minor = Arc::new(AtomicU32::new(44));
    let client = engine(minor.clone()).await;
    let ask = || client.json::<String>(Call::read("/x", "x"));
    assert_eq!(ask().await.unwrap(), "/v1.44/x");
    minor.store(41, Ordering::SeqCst);
    assert_eq!(ask().await.unwrap(), "/v1.41/x");
    minor.store(99, Ordering::SeqCst);
    client.remember(None);
    assert_eq!(ask().await.unwrap(), "/v1.53/x");
}

#[tokio::test]
async fn docker_may_come_up_after_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("d.sock");
    let host = format!("unix://{}", socket.display());
    let client = Client::new(Address::find(Some(&host)).unwrap());
    let ask = || client.json::<String>(Call::read("/x", "x"));
    let error = ask().await.unwrap_err();
    let SwarmError::Unavailable {
        host: named,
        reason,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(named, host);
    assert!(reason.contains("No such file"), "{reason}");

    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let router = Router::new().fallback(|| async { ([("api-version", "1.41")], axum::Json("up")) });
    tokio::spawn(async move { axum::serve(listener, router).await });
    assert_eq!(ask().await.unwrap(), "up");
}

#[tokio::test]
async fn an_engine_that_accepts_and_says_nothing_runs_into_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    let client = Client::new(Address::find(Some(&host)).unwrap());
    let call = Call::read("/x", "the list of x").within(Duration::from_secs(1));
    let what = "the list of x".to_owned();
    assert_eq!(
        client.json::<String>(call).await,
        Err(SwarmError::TimedOut { what, seconds: 1 })
    );
}
