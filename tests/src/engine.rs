//! Direct access to the Engine's API: a client of its socket, and a proxy that can be stopped and can hide networks
//! from the Director.

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Maximum size of a forwarded request body.
const MAX_BODY: usize = 16 << 20;

/// A client of the local Engine, through the socket in `DOCKER_HOST` or the default one. Paths are appended to
/// `http://docker`.
///
/// # Errors
/// When `DOCKER_HOST` is not a socket.
pub fn client() -> Result<reqwest::Client> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = match host.strip_prefix("unix://") {
        Some(path) => PathBuf::from(path),
        None if host.is_empty() => PathBuf::from("/var/run/docker.sock"),
        None => bail!("DOCKER_HOST is `{host}`; expected `unix://...`"),
    };
    // An error means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().unix_socket(socket).build()?)
}

/// A TCP proxy of the local Engine on a loopback port that can be stopped and resumed.
pub struct Proxy {
    port: u16,
    state: ProxyState,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct ProxyState {
    engine: reqwest::Client,
    hidden: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start() -> Result<Self> {
        let state = ProxyState {
            engine: client()?,
            hidden: Arc::default(),
        };
        let mut proxy = Self {
            port: crate::director::free_port()?,
            state,
            runtime: None,
        };
        proxy.resume()?;
        Ok(proxy)
    }

    /// Value of `dockerHost`.
    pub fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Omits the network of this name from all lists from now on.
    pub fn hide_network(&self, name: &str) {
        let hidden = &self.state.hidden;
        let mut hidden = hidden.lock().unwrap_or_else(PoisonError::into_inner);
        hidden.push(name.to_owned());
    }

    /// Closes all connections and refuses new ones, like a stopped Engine.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again.
    ///
    /// # Errors
    /// When the port is in use.
    pub fn resume(&mut self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let socket = std::net::TcpListener::bind(("127.0.0.1", self.port))
            .with_context(|| format!("port {}", self.port))?;
        socket.set_nonblocking(true)?;
        let app = Router::new()
            .fallback(handle)
            .with_state(self.state.clone());
        runtime.spawn(async move {
            if let Ok(listener) = TcpListener::from_std(socket) {
                let _ = axum::serve(listener, app).await;
            }
        });
        self.runtime = Some(runtime);
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn handle(State(state): State<ProxyState>, request: Request) -> Response {
    match forward(&state, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn forward(state: &ProxyState, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().context("no path")?.as_str();
    let lists_networks = parts.method == Method::GET && parts.uri.path().ends_with("/networks");
    let mut forwarded = state
        .engine
        .request(parts.method, format!("http://docker{path}"));
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        forwarded = forwarded.header(header::CONTENT_TYPE, kind);
    }
    let received = forwarded
        .body(to_bytes(body, MAX_BODY).await?)
        .send()
        .await?;
    let mut response = Response::builder().status(received.status());
    for (name, value) in received.headers() {
        // Hyper sets the framing headers itself.
        if ![header::TRANSFER_ENCODING, header::CONTENT_LENGTH].contains(name) {
            response = response.header(name, value);
        }
    }
    let body = match lists_networks {
        true => Body::from(state.without_hidden(&received.text().await?)?),
        false => Body::from_stream(received.bytes_stream()),
    };
    Ok(response.body(body)?)
}

impl ProxyState {
    fn without_hidden(&self, list: &str) -> Result<String> {
        let hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let mut networks: Vec<Value> = serde_json::from_str(list)?;
        networks.retain(|network| {
            let name = network["Name"].as_str().unwrap_or_default();
            !hidden.iter().any(|one| one == name)
        });
        Ok(serde_json::to_string(&networks)?)
    }
}
