//! `POST /probe` of the sidecar: readiness of addresses.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The body of the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeOrder {
    /// The addresses; at least one.
    pub addresses: Vec<Ipv4Addr>,
    /// The condition for each address.
    #[serde(flatten)]
    pub probe: Probe,
    /// The sidecar responds after this number of seconds at the latest.
    pub timeout: f64,
}

/// The condition for an address to be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// It accepts a TCP connection on this port within 1 s.
    Tcp(u16),
    /// It responds to a GET with this status within 1 s.
    Http {
        /// The port of the request.
        port: u16,
        /// Starts with `/`; includes the query, if any.
        path: String,
        /// From 100 to 599; redirects are not followed.
        status: u16,
    },
}

/// An entry of the response, in the order of the addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeOutcome {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether the probe succeeded.
    pub ready: bool,
    /// The reason of the failure, for example `connection refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
