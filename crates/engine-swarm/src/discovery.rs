//! The port to the sidecar, which resolves names inside a task's network.

#[cfg(any(test, feature = "model"))]
pub mod fake;

pub use atq_engine::Probed;
pub use atq_node_protocol::probe::Probe;

use crate::error::root_cause;
use async_trait::async_trait;
use atq_node_protocol::probe::{ProbeOrder, ProbeOutcome};
use std::net::Ipv4Addr;
use std::time::Duration;
use thiserror::Error;

/// Timeout of a connection to the sidecar.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Additional time for a response, beyond the requested timeout of the sidecar.
const RESPONSE_GRACE: Duration = Duration::from_secs(3);

/// A failed request to the sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the sidecar at `{endpoint}` {reason}")]
pub struct DiscoveryError {
    /// Its base URL.
    pub endpoint: String,
    /// The problem; completes the sentence "the sidecar at ...".
    pub reason: String,
}

/// The requests of the Director to a sidecar.
#[async_trait]
pub trait Discovery: Send + Sync + 'static {
    /// Checks that the sidecar can be reached. Takes no longer than a connection.
    async fn health(&self, endpoint: &str) -> Result<(), DiscoveryError>;

    /// The addresses of `name`: returns as soon as there are `replicas` of them, or after `timeout` with those found
    /// so far; ascending, without duplicates.
    async fn addresses(
        &self,
        endpoint: &str,
        token: &str,
        name: &str,
        replicas: u32,
        timeout: Duration,
    ) -> Result<Vec<Ipv4Addr>, DiscoveryError>;

    /// Probes `addresses`: returns as soon as all have passed `probe`, or after `timeout` with the state so far. One
    /// entry for each address, in the same order. The sidecar retries until the timeout, which it limits to 30 s, and
    /// skips addresses that have passed.
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
    let no_reason = || "the sidecar reported no reason".to_owned();
    Probed {
        address: outcome.address,
        reason: (!outcome.ready).then(|| outcome.reason.unwrap_or_else(no_reason)),
    }
}

/// The sidecar over HTTP.
#[derive(Clone)]
pub struct HttpDiscovery {
    client: reqwest::Client,
}

impl HttpDiscovery {
    /// A client without proxy: the sidecar is on this node or a neighbour.
    ///
    /// # Errors
    /// When the HTTP client cannot be created.
    pub fn new() -> Result<Self, reqwest::Error> {
        // A provider may be installed already; any provider is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(atq_resolver::SystemResolver)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            // Sidecars use plain HTTP. The machine's certificates are not read, because an image without any could
            // not start at all.
            .tls_certs_only(Vec::<reqwest::Certificate>::new())
            .build()?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Discovery for HttpDiscovery {
    async fn health(&self, endpoint: &str) -> Result<(), DiscoveryError> {
        let request = self.client.get(format!("{endpoint}/healthz"));
        let response = request.timeout(CONNECT_TIMEOUT).send().await;
        let response = response.map_err(|error| unreachable(endpoint, &error))?;
        match response.status() {
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
        let failed = |error| unreachable(endpoint, &error);
        let seconds = format!("{:.3}", timeout.as_secs_f64());
        let response = self
            .client
            .get(format!("{endpoint}/api/{name}"))
            .query(&[("replicas", replicas.to_string()), ("timeout", seconds)])
            .bearer_auth(token)
            .timeout(timeout + RESPONSE_GRACE)
            .send()
            .await
            .map_err(failed)?;
        match response.status() {
            reqwest::StatusCode::NO_CONTENT => Ok(Vec::new()),
            status if status.is_success() => {
                let mut addresses: Vec<Ipv4Addr> = response.json().await.map_err(failed)?;
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
        let failed = |error| unreachable(endpoint, &error);
        let order = ProbeOrder {
            addresses: addresses.to_vec(),
            probe: probe.clone(),
            timeout: timeout.as_secs_f64(),
        };
        let response = self
            .client
            .post(format!("{endpoint}/probe"))
            .json(&order)
            .bearer_auth(token)
            .timeout(timeout + RESPONSE_GRACE)
            .send()
            .await
            .map_err(failed)?;
        if !response.status().is_success() {
            return Err(unexpected(endpoint, response.status(), "200"));
        }
        let outcomes: Vec<ProbeOutcome> = response.json().await.map_err(failed)?;
        complete(endpoint, addresses, outcomes)
    }
}

/// The outcomes, if there is one for each address: a missing worker must not count as ready.
fn complete(
    endpoint: &str,
    addresses: &[Ipv4Addr],
    outcomes: Vec<ProbeOutcome>,
) -> Result<Vec<Probed>, DiscoveryError> {
    let probed_addresses = outcomes.iter().map(|outcome| outcome.address);
    if probed_addresses.eq(addresses.iter().copied()) {
        return Ok(outcomes.into_iter().map(probed).collect());
    }
    let (found, expected) = (outcomes.len(), addresses.len());
    Err(DiscoveryError {
        endpoint: endpoint.to_owned(),
        reason: format!(
            "answered a probe for {found} addresses; expected the {expected} requested ones, in their order"
        ),
    })
}

fn unreachable(endpoint: &str, error: &reqwest::Error) -> DiscoveryError {
    DiscoveryError {
        endpoint: endpoint.to_owned(),
        reason: format!("does not answer: {}", root_cause(error)),
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
