#![allow(clippy::unwrap_used)]
use super::*;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use bollard::auth::DockerCredentials;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::{TcpListener, UnixListener};

/// An Engine whose newest API is 1.`minor`; answers other calls with the requested path.
fn engine(minor: Arc<AtomicU32>) -> Router {
    let newest = minor.clone();
    let version = async move || {
        let minor = newest.load(Ordering::SeqCst);
        Json(json!({"ApiVersion": format!("1.{minor}")}))
    };
    let other = async move |uri: Uri| {
        let newest = minor.load(Ordering::SeqCst);
        let requested: u32 = uri.path()[4..6].parse().unwrap();
        match requested > newest {
            false => uri.path().to_owned().into_response(),
            true => {
                let text = format!(
                    "client version 1.{requested} is too new. Maximum supported API version is 1.{newest}"
                );
                (StatusCode::BAD_REQUEST, Json(json!({"message": text}))).into_response()
            }
        }
    };
    Router::new()
        .route("/version", get(version))
        .fallback(other)
}

/// A client for a server with these routes at 127.0.0.1.
async fn client(router: Router) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(Address::find(Some(&host)).unwrap())
}

/// The path that bollard requested.
async fn ping(client: &Client) -> Result<String, SwarmError> {
    let ping = async |docker: Docker| docker.ping().await;
    client.send(&Call::read("x"), ping).await
}

/// The path that [`Client::get`] requested.
async fn get_x(client: &Client) -> Result<String, SwarmError> {
    let get = async |docker: Docker| {
        let response = client.get(docker, "/x", &[]).await?;
        response.text().await.map_err(connection_error)
    };
    client.send(&Call::read("x"), get).await
}

#[tokio::test]
async fn the_older_version_is_used_and_negotiated_again_after_a_change() {
    let minor = Arc::new(AtomicU32::new(44));
    let client = client(engine(minor.clone())).await;
    assert_eq!(ping(&client).await.unwrap(), "/v1.44/_ping");
    assert_eq!(get_x(&client).await.unwrap(), "/v1.44/x");
    minor.store(41, Ordering::SeqCst);
    assert_eq!(ping(&client).await.unwrap(), "/v1.41/_ping");
    minor.store(40, Ordering::SeqCst);
    assert_eq!(get_x(&client).await.unwrap(), "/v1.40/x");
    minor.store(99, Ordering::SeqCst);
    client.to_swarm_error(&Call::read("x"), Error::from(io::Error::other("away")));
    assert_eq!(ping(&client).await.unwrap(), "/v1.53/_ping");
}

#[tokio::test]
async fn docker_may_start_after_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("d.sock");
    let host = format!("unix://{}", socket.display());
    let client = Client::new(Address::find(Some(&host)).unwrap());
    let error = ping(&client).await.unwrap_err();
    let SwarmError::Unavailable {
        host: named,
        reason,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(named, host);
    assert!(reason.contains("not found"), "{reason}");

    let listener = UnixListener::bind(&socket).unwrap();
    let router = engine(Arc::new(AtomicU32::new(41)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    assert_eq!(ping(&client).await.unwrap(), "/v1.41/_ping");
    assert_eq!(get_x(&client).await.unwrap(), "/v1.41/x");
}

#[tokio::test]
async fn a_server_that_is_not_docker_is_reported_and_retried() {
    let client = client(Router::new()).await;
    for _ in 0..2 {
        let error = ping(&client).await.unwrap_err();
        assert!(
            matches!(&error, SwarmError::Unavailable { reason, .. } if reason.contains("like Docker")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_is_classified_for_bollard_and_for_own_requests() {
    let refuse = async || (StatusCode::NOT_FOUND, Json(json!({"message": "no x"})));
    let version = async || Json(json!({"ApiVersion": "1.41"}));
    let router = Router::new()
        .route("/version", get(version))
        .fallback(refuse);
    let client = client(router).await;
    let what = "x".to_owned();
    let missing = Err(SwarmError::NotFound { what });
    assert_eq!(ping(&client).await, missing);
    assert_eq!(get_x(&client).await, missing);
}

#[tokio::test]
async fn an_engine_that_accepts_and_never_answers_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    let client = Client::new(Address::find(Some(&host)).unwrap());
    let call = Call::read("the list of x").with_timeout(Duration::from_secs(1));
    let what = "the list of x".to_owned();
    assert_eq!(
        client.send(&call, async |docker| docker.ping().await).await,
        Err(SwarmError::TimedOut { what, seconds: 1 })
    );
}

/// The base64 of this password contains the characters in which the two alphabets differ.
#[tokio::test]
async fn credentials_are_sent_in_the_base64_alphabet_of_docker() {
    let header = async |headers: HeaderMap| {
        let sent = headers["X-Registry-Auth"].to_str().unwrap().to_owned();
        Json(json!({"ID": sent}))
    };
    let version = async || Json(json!({"ApiVersion": "1.41"}));
    let router = Router::new()
        .route("/version", get(version))
        .fallback(header);
    let client = client(router).await;
    let credentials = DockerCredentials {
        password: Some("~~~???>>>".to_owned()),
        ..Default::default()
    };
    let create = async |docker: Docker| {
        let create = docker.create_service(Default::default(), Some(credentials.clone()));
        Ok(create.await?.id)
    };
    let sent = client.send(&Call::create("x".to_owned()), create).await;
    let sent = sent.unwrap().unwrap();
    assert!(!sent.contains(['+', '/']), "{sent}");
    assert!(sent.contains(['-', '_']), "{sent}");
}
