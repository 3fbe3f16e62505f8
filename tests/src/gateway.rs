//! A gateway before a Director, as companies have them: it answers some requests itself, and passes the rest on.

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

/// Requests that the gateway answers itself.
#[derive(Debug)]
pub struct Rule {
    /// The method of the requests.
    method: &'static str,
    /// A part of their path.
    path: &'static str,
    status: StatusCode,
    /// How many of them the gateway still answers.
    left: AtomicUsize,
}

impl Rule {
    /// The first `times` requests of `method` whose path contains `path` are answered with `status`. A status of
    /// redirects leads to the Director itself.
    pub fn new(method: &'static str, path: &'static str, status: StatusCode, times: usize) -> Self {
        Self {
            method,
            path,
            status,
            left: AtomicUsize::new(times),
        }
    }

    /// Whether the rule is for this request, which then is one of its number.
    fn takes(&self, request: &Request) -> bool {
        let fits = request.method() == self.method && request.uri().path().contains(self.path);
        let one_less = |left: usize| left.checked_sub(1);
        fits && self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}

/// A gateway. Ends when dropped.
#[derive(Debug)]
pub struct Gateway {
    /// Where it answers.
    pub url: String,
    rules: Arc<[Rule]>,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Way {
    director: String,
    client: reqwest::Client,
    rules: Arc<[Rule]>,
}

impl Gateway {
    /// One before the Director at the URL `director`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(director: &str, rules: impl IntoIterator<Item = Rule>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let rules: Arc<[Rule]> = rules.into_iter().collect();
        let way = Way {
            director: director.to_owned(),
            client: direct().redirect(Policy::none()).build()?,
            rules: Arc::clone(&rules),
        };
        let routes = Router::new().fallback(answer).with_state(way);
        let serving = tokio::spawn(async move {
            let _ = serve(listener, routes).await;
        });
        Ok(Self {
            url,
            rules,
            serving,
        })
    }

    /// Whether each rule answered all of its requests.
    ///
    /// # Errors
    /// Names those that did not.
    pub fn is_used_up(&self) -> Result<()> {
        let unused = |rule: &&Rule| rule.left.load(Ordering::Relaxed) > 0;
        let unused: Vec<&Rule> = self.rules.iter().filter(unused).collect();
        ensure!(unused.is_empty(), "not asked for: {unused:?}");
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(way): State<Way>, request: Request) -> Response {
    let path = request.uri().path_and_query();
    let to = format!("{}{}", way.director, path.map_or("/", |path| path.as_str()));
    match way.rules.iter().find(|rule| rule.takes(&request)) {
        Some(rule) => (rule.status, [(header::LOCATION, to)], "<h1>gateway</h1>").into_response(),
        None => way.pass_on(to, request).await.unwrap_or_else(|error| {
            (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response()
        }),
    }
}

impl Way {
    async fn pass_on(&self, to: String, request: Request) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(header::HOST);
        let sent = self
            .client
            .request(parts.method, to)
            .headers(parts.headers)
            .body(reqwest::Body::wrap_stream(body.into_data_stream()));
        let given = sent.send().await.context("the Director does not answer")?;
        let (status, headers) = (given.status(), given.headers().clone());
        let mut response = Response::new(Body::from_stream(given.bytes_stream()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        Ok(response)
    }
}
