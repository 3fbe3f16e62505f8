//! A fake Director with scripted responses.
#![allow(clippy::unwrap_used)]

use crate::context::Context;
use crate::director::Director;
use crate::out::Out;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// Serves the routes below `/api` on a free port.
pub async fn director(routes: Router) -> Context {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().nest("/api", routes);
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Context {
        director: Director::at(&url).unwrap(),
        out: Out::new(false),
    }
}

/// Responses in sequence; the last one is repeated.
#[derive(Clone)]
pub struct Script(Arc<Mutex<VecDeque<Answer>>>);

/// A response.
#[derive(Clone)]
pub enum Answer {
    /// A complete body.
    Whole(String),
    /// An interrupted body.
    Broken(String),
    /// A rejection.
    Refused(u16),
}

impl Script {
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(Arc::new(Mutex::new(answers.into_iter().collect())))
    }

    pub fn next(&self) -> Response {
        let mut answers = self.0.lock().unwrap();
        let answer = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        };
        answer.into_response()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Whole(text) => text.into_response(),
            Self::Broken(text) => {
                let pieces = [Ok(text), Err(io::Error::other("broken"))];
                // Yields between the pieces, so that the first piece is sent before the failure.
                let pieces = stream::unfold(pieces.into_iter(), |mut pieces| async {
                    tokio::task::yield_now().await;
                    pieces.next().map(|piece| (piece, pieces))
                });
                Body::from_stream(pieces).into_response()
            }
            Self::Refused(status) => {
                let status = axum::http::StatusCode::from_u16(status).unwrap();
                let body = json!({"error": "there is none", "code": "task_not_found"});
                (status, axum::Json(body)).into_response()
            }
        }
    }
}

/// A task with these fields changed.
pub fn task(changes: Value) -> Value {
    let service = json!({
        "id": "", "alias": "a", "fileId": "", "image": "i", "replicas": 1, "tty": false, "args": []
    });
    let mut task = json!({
        "id": "load", "status": "finished", "master": service, "worker": service, "delay": 0,
        "step": "done", "timings": {}, "workers": [], "createdAt": "2026-01-31T11:59:00Z",
        "startedAt": "2026-01-31T12:00:00.5Z", "finishedAt": "2026-01-31T12:01:02.75Z", "exitCode": 0
    });
    for (name, value) in changes.as_object().unwrap() {
        task[name] = value.clone();
    }
    task
}
