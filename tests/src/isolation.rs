//! Attempts of a process in a container to use the ports of a Director.

use crate::netns::within;
use anyhow::{Context, Result};
use reqwest::Method;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Timeout of a connection: a port that drops packets counts as closed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Those of the addresses that accept a connection from the network namespace.
///
/// # Errors
/// When the namespace cannot be entered.
pub async fn open_ports(namespace: &Path, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>> {
    within(namespace, || async move {
        let mut open = Vec::new();
        for address in addresses {
            let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            if matches!(connected, Ok(Ok(_))) {
                open.push(address);
            }
        }
        Ok(open)
    })
    .await
}

/// A request to the port for carriers.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Method.
    pub method: Method,
    /// Path.
    pub path: String,
    /// Token.
    pub token: String,
    /// The node that the sender claims to be.
    pub node: String,
    /// Body.
    pub body: String,
}

/// Sends the requests to `url` from the network namespace, whatever certificate the server has. Returns the status and
/// the body of each response.
///
/// # Errors
/// When there is no response.
pub async fn send(
    namespace: &Path,
    url: String,
    attempts: Vec<Attempt>,
) -> Result<Vec<(u16, String)>> {
    // An error means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    within(namespace, || async move {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .tls_danger_accept_invalid_certs(true)
            .build()?;
        let mut answers = Vec::new();
        for attempt in attempts {
            let request = client
                .request(attempt.method.clone(), format!("{url}{}", attempt.path))
                .bearer_auth(&attempt.token)
                .header("x-atq-node", &attempt.node)
                .header("content-type", "application/json")
                .body(attempt.body.clone());
            let response = request.send().await;
            let response = response.with_context(|| format!("{attempt:?}"))?;
            answers.push((response.status().as_u16(), response.text().await?));
        }
        Ok(answers)
    })
    .await
}

/// The IPv4 addresses in the output of `ip -4 -o addr show`.
pub fn addresses_in(output: &str) -> Vec<std::net::IpAddr> {
    let words = output.split_whitespace();
    let pairs = words.clone().zip(words.skip(1));
    let of_inet = pairs.filter(|(word, _)| *word == "inet");
    of_inet
        .filter_map(|(_, address)| address.split('/').next()?.parse().ok())
        .collect()
}
