//! The way to the Engine's own API, past the Director: a client of its socket, and a proxy before it
//! that can be stopped and can keep things to itself.

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

/// Largest body of a request that is passed on.
const MAX_BODY: usize = 16 << 20;

/// A client of the Engine of this machine: of the socket in `DOCKER_HOST`, else of the usual one.
/// Paths go after `http://docker`.
///
/// # Errors
/// When `DOCKER_HOST` names no socket.
pub fn client() -> Result<reqwest::Client> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = match host.strip_prefix("unix://") {
        Some(path) => PathBuf::from(path),
        None if host.is_empty() => PathBuf::from("/var/run/docker.sock"),
        None => bail!("DOCKER_HOST is `{host}`; expected `unix://...`"),
    };
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().unix_socket(socket).build()?)
}

/// A Docker that answers on a port of the loopback: the real one behind a door that can be shut.
pub struct Proxy {
    port: u16,
    door: Door,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Door {
    engine: reqwest::Client,
    hidden: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// A proxy that listens.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start() -> Result<Self> {
        let door = Door {
            engine: client()?,
            hidden: Arc::default(),
        };
        let mut proxy = Self {
            port: crate::director::free_port()?,
            door,
            runtime: None,
        };
        proxy.resume()?;
        Ok(proxy)
    }

    /// Value of `dockerHost`.
    pub fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// From now on the network of this name is in no list.
    pub fn hide_network(&self, name: &str) {
        let hidden = &self.door.hidden;
        let mut hidden = hidden.lock().unwrap_or_else(PoisonError::into_inner);
        hidden.push(name.to_owned());
    }

    /// Cuts all connections and refuses new ones, as an Engine that was stopped.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub fn resume(&mut self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let socket = std::net::TcpListener::bind(("127.0.0.1", self.port))
            .with_context(|| format!("port {}", self.port))?;
        socket.set_nonblocking(true)?;
        let app = Router::new()
            .fallback(pass_on)
            .with_state(self.door.clone());
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

async fn pass_on(State(door): State<Door>, request: Request) -> Response {
    match answer(&door, request).await {
        Ok(answer) => answer,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn answer(door: &Door, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().context("no path")?.as_str();
    let lists_networks = parts.method == Method::GET && parts.uri.path().ends_with("/networks");
    let mut passed = door
        .engine
        .request(parts.method, format!("http://docker{path}"));
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        passed = passed.header(header::CONTENT_TYPE, kind);
    }
    let answer = passed.body(to_bytes(body, MAX_BODY).await?).send().await?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        // Hyper frames the body anew.
        if ![header::TRANSFER_ENCODING, header::CONTENT_LENGTH].contains(name) {
            response = response.header(name, value);
        }
    }
    let body = match lists_networks {
        true => Body::from(door.without_hidden(&answer.text().await?)?),
        false => Body::from_stream(answer.bytes_stream()),
    };
    Ok(response.body(body)?)
}

impl Door {
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
