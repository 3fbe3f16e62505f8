//! The port to the sidecar that looks names up inside a task's network.

pub mod fake;

use async_trait::async_trait;
use std::net::Ipv4Addr;
use std::time::Duration;
use thiserror::Error;

/// How long a connection to the sidecar may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What an answer may take beyond the time for which the sidecar was asked to wait.
const ANSWER_GRACE: Duration = Duration::from_secs(3);

/// Why the sidecar gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the sidecar at `{endpoint}` {reason}")]
pub struct DiscoveryError {
    /// Its base URL.
    pub endpoint: String,
    /// What happened; fits after "the sidecar at ...".
    pub reason: String,
}

/// What the Director asks a sidecar.
#[async_trait]
pub trait Discovery: Send + Sync + 'static {
    /// The addresses of `name`, as soon as there are `replicas` of them, or those that are there
    /// after `timeout`; ascending, without doubles.
    async fn addresses(
        &self,
        endpoint: &str,
        token: &str,
        name: &str,
        replicas: u32,
        timeout: Duration,
    ) -> Result<Vec<Ipv4Addr>, DiscoveryError>;

    /// stub
    async fn probe(
        &self,
        endpoint: &str,
        token: &str,
        addresses: &[Ipv4Addr],
        probe: &Probe,
        timeout: Duration,
    ) -> Result<Vec<Probed>, DiscoveryError> {
        let _ = (token, probe, timeout, addresses);
        Err(DiscoveryError {
            endpoint: endpoint.to_owned(),
            reason: "stub".to_owned(),
        })
    }
}

/// stub
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// tcp
    Tcp(u16),
    /// http
    Http {
        /// port
        port: u16,
        /// path
        path: String,
        /// status
        status: u16,
    },
}

/// stub
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// a
    pub address: Ipv4Addr,
    /// r
    pub reason: Option<String>,
}

/// The sidecar over HTTP.
#[derive(Clone)]
pub struct HttpDiscovery {
    client: reqwest::Client,
}

impl HttpDiscovery {
    /// A client that goes through no proxy: the sidecar is on this node or the next.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            // Sidecars speak plain HTTP. The machine's certificates are not read, because an image without any
            // could not start at all.
            .tls_certs_only(Vec::<reqwest::Certificate>::new())
            .build()?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Discovery for HttpDiscovery {
    async fn addresses(
        &self,
        endpoint: &str,
        token: &str,
        name: &str,
        replicas: u32,
        timeout: Duration,
    ) -> Result<Vec<Ipv4Addr>, DiscoveryError> {
        let seconds = format!("{:.3}", timeout.as_secs_f64());
        let answer = self
            .client
            .get(format!("{endpoint}/api/{name}"))
            .query(&[("replicas", replicas.to_string()), ("timeout", seconds)])
            .bearer_auth(token)
            .timeout(timeout + ANSWER_GRACE)
            .send()
            .await
            .map_err(|error| unreachable(endpoint, &error))?;
        match answer.status() {
            reqwest::StatusCode::NO_CONTENT => Ok(Vec::new()),
            status if status.is_success() => {
                let mut addresses: Vec<Ipv4Addr> = answer
                    .json()
                    .await
                    .map_err(|error| unreachable(endpoint, &error))?;
                addresses.sort_unstable();
                addresses.dedup();
                Ok(addresses)
            }
            status => Err(unexpected(endpoint, status)),
        }
    }
}

fn unreachable(endpoint: &str, error: &reqwest::Error) -> DiscoveryError {
    let mut reason = format!("does not answer: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        reason = format!("does not answer: {inner}");
        source = inner.source();
    }
    DiscoveryError {
        endpoint: endpoint.to_owned(),
        reason,
    }
}

fn unexpected(endpoint: &str, status: reqwest::StatusCode) -> DiscoveryError {
    DiscoveryError {
        endpoint: endpoint.to_owned(),
        reason: format!("answered {status}; expected 200 or 204"),
    }
}
