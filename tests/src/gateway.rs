//! A reverse proxy in front of a Director: it answers some requests itself and forwards the others.

use crate::client::direct;
use anyhow::{Context, Result, ensure};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, serve};
use reqwest::redirect::Policy;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A response of the gateway itself to matching requests.
#[derive(Debug)]
pub struct Rule {
    /// Method of the requests.
    method: &'static str,
    /// Substring of their path.
    path: &'static str,
    status: StatusCode,
    /// How many matching requests the gateway still answers.
    remaining: AtomicUsize,
}

impl Rule {
    /// Answers the first `times` requests with `method` and a path that contains `path` with `status`. Redirects
    /// point to the Director itself.
    pub fn new(method: &'static str, path: &'static str, status: StatusCode, times: usize) -> Self {
        Self {
            method,
            path,
            status,
            remaining: AtomicUsize::new(times),
        }
    }

    /// Whether the rule applies to this request; if so, counts it.
    fn take(&self, request: &Request) -> bool {
        let matches = request.method() == self.method && request.uri().path().contains(self.path);
        let decrement = |remaining: usize| remaining.checked_sub(1);
        matches
            && self
                .remaining
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement)
                .is_ok()
    }
}

/// A running gateway. Stops when dropped.
#[derive(Debug)]
pub struct Gateway {
    /// Its base URL.
    pub url: String,
    rules: Arc<[Rule]>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct GatewayState {
    director: String,
    client: reqwest::Client,
    rules: Arc<[Rule]>,
}

impl Gateway {
    /// Starts a gateway in front of the Director at the URL `director`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(director: &str, rules: impl IntoIterator<Item = Rule>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let rules: Arc<[Rule]> = rules.into_iter().collect();
        let state = GatewayState {
            director: director.to_owned(),
            client: direct().redirect(Policy::none()).build()?,
            rules: Arc::clone(&rules),
        };
        let routes = Router::new().fallback(handle).with_state(state);
        let server = tokio::spawn(async move {
            let _ = serve(listener, routes).await;
        });
        Ok(Self { url, rules, server })
    }

    /// Checks that each rule answered all of its requests.
    ///
    /// # Errors
    /// When some did not; the message lists them.
    pub fn check_all_rules_used(&self) -> Result<()> {
        let unused = |rule: &&Rule| rule.remaining.load(Ordering::Relaxed) > 0;
        let unused: Vec<&Rule> = self.rules.iter().filter(unused).collect();
        ensure!(unused.is_empty(), "unused rules: {unused:?}");
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(state): State<GatewayState>, request: Request) -> Response {
    let path = request.uri().path_and_query();
    let to = format!(
        "{}{}",
        state.director,
        path.map_or("/", |path| path.as_str())
    );
    match state.rules.iter().find(|rule| rule.take(&request)) {
        Some(rule) => (rule.status, [(header::LOCATION, to)], "<h1>gateway</h1>").into_response(),
        None => state.forward(to, request).await.unwrap_or_else(|error| {
            (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response()
        }),
    }
}

impl GatewayState {
    async fn forward(&self, to: String, request: Request) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(header::HOST);
        let sent = self
            .client
            .request(parts.method, to)
            .headers(parts.headers)
            .body(reqwest::Body::wrap_stream(body.into_data_stream()));
        let received = sent.send().await.context("the Director does not respond")?;
        let (status, headers) = (received.status(), received.headers().clone());
        let mut response = Response::new(Body::from_stream(received.bytes_stream()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        Ok(response)
    }
}
