//! The port to the sidecar that looks names up inside a task's network.

#[cfg(any(test, feature = "model"))]
pub mod fake;

pub use atq_engine::Probed;
pub use atq_node_protocol::probe::Probe;

use async_trait::async_trait;
use atq_node_protocol::probe::{ProbeOrder, ProbeOutcome};
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
    /// Whether the sidecar can be reached; the answer takes no longer than a connection.
    async fn health(&self, endpoint: &str) -> Result<(), DiscoveryError>;

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

    /// Whether each of `addresses` passes `probe`, as soon as all have, or how they stand after
    /// `timeout`; one entry for each address, in the same order. The sidecar tries again and again
    /// in that time, which it cuts to 30 s, and leaves those alone that have passed.
    async fn probe(
        &self,
        endpoint: &str,
        token: &str,
        addresses: &[Ipv4Addr],
        probe: &Probe,
        timeout: Duration,
    ) -> Result<Vec<Probed>, DiscoveryError>;
}

fn probed(outcome: ProbeOutcome) -> Probed {
    let unsaid = || "the sidecar does not say why".to_owned();
    Probed {
        address: outcome.address,
        reason: (!outcome.ready).then(|| outcome.reason.unwrap_or_else(unsaid)),
    }
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
            .dns_resolver(atq_resolver::SystemResolver)
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
    async fn health(&self, endpoint: &str) -> Result<(), DiscoveryError> {
        let request = self.client.get(format!("{endpoint}/healthz"));
        let answer = request.timeout(CONNECT_TIMEOUT).send().await;
        let answer = answer.map_err(|error| unreachable(endpoint, &error))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(unexpected(endpoint, status, "200")),
        }
    }

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
            status => Err(unexpected(endpoint, status, "200 or 204")),
        }
    }

    async fn probe(
        &self,
        endpoint: &str,
        token: &str,
        addresses: &[Ipv4Addr],
        probe: &Probe,
        timeout: Duration,
    ) -> Result<Vec<Probed>, DiscoveryError> {
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        let order = ProbeOrder {
            addresses: addresses.to_vec(),
            probe: probe.clone(),
            timeout: timeout.as_secs_f64(),
        };
        let answer = self
            .client
            .post(format!("{endpoint}/probe"))
            .json(&order)
            .bearer_auth(token)
            .timeout(timeout + ANSWER_GRACE)
            .send()
            .await
            .map_err(|error| unreachable(endpoint, &error))?;
        if !answer.status().is_success() {
            return Err(unexpected(endpoint, answer.status(), "200"));
        }
        let outcomes: Vec<ProbeOutcome> = answer
            .json()
            .await
            .map_err(|error| unreachable(endpoint, &error))?;
        complete(endpoint, addresses, outcomes)
    }
}

/// The outcomes, if there is one for each address: a worker that is not spoken of must not pass for
/// ready.
fn complete(
    endpoint: &str,
    addresses: &[Ipv4Addr],
    outcomes: Vec<ProbeOutcome>,
) -> Result<Vec<Probed>, DiscoveryError> {
    let answered = outcomes.iter().map(|outcome| outcome.address);
    if answered.eq(addresses.iter().copied()) {
        return Ok(outcomes.into_iter().map(probed).collect());
    }
    let (seen, expected) = (outcomes.len(), addresses.len());
    Err(DiscoveryError {
        endpoint: endpoint.to_owned(),
        reason: format!(
            "answered a probe for {seen} addresses; expected the {expected} asked for, in their order"
        ),
    })
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

fn unexpected(endpoint: &str, status: reqwest::StatusCode, expected: &str) -> DiscoveryError {
    DiscoveryError {
        endpoint: endpoint.to_owned(),
        reason: format!("answered {status}; expected {expected}"),
    }
}

#[cfg(test)]
mod tests;
