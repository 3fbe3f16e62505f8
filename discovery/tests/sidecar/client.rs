//! A running sidecar and requests to it.

use std::net::SocketAddr;

use atq_discovery::{NameServers, Options, run};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::dns::{Answer, Dns};

#[derive(Clone)]
pub struct Sidecar {
    base: String,
    http: reqwest::Client,
}

impl Sidecar {
    pub async fn start(name_server: SocketAddr, token: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let name_servers = NameServers::one(name_server);
        let options = Options {
            name_servers,
            token: token.map(Into::into),
        };
        tokio::spawn(run(listener, options, std::future::pending()));
        Self::at(base)
    }

    pub fn at(base: String) -> Self {
        // reqwest requires a TLS provider, although TLS is not used. It may be installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            base,
            http: reqwest::Client::new(),
        }
    }

    pub fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.base))
    }

    /// Status and body; an empty body is null.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        status_and_body(self.request(path)).await
    }

    /// Status and body of a probe request.
    pub async fn probe(&self, order: &Value) -> (StatusCode, Value) {
        status_and_body(self.post("/probe").body(order.to_string())).await
    }

    /// The addresses of a 200, nothing for a 204.
    pub async fn addresses(&self, path: &str) -> Vec<String> {
        match self.get(path).await {
            (StatusCode::OK, body) => serde_json::from_value(body).unwrap(),
            (StatusCode::NO_CONTENT, Value::Null) => Vec::new(),
            other => panic!("{path}: {other:?}"),
        }
    }
}

pub async fn status_and_body(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap()
    };
    (status, body)
}

/// A DNS server that returns `answer`, and a sidecar without a token that queries it.
pub async fn dns_and_sidecar(answer: Answer) -> (Dns, Sidecar) {
    let dns = Dns::start(answer).await;
    let sidecar = Sidecar::start(dns.address, None).await;
    (dns, sidecar)
}
