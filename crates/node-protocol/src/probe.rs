//! `POST /probe` of the sidecar: whether addresses are ready.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The body of the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeOrder {
    /// At least one.
    pub addresses: Vec<Ipv4Addr>,
    /// What each of them must do.
    #[serde(flatten)]
    pub probe: Probe,
    /// The sidecar answers after so many seconds at the latest.
    pub timeout: f64,
}

/// What an address must do to be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// Accept a TCP connection on this port, within 1 s.
    Tcp(u16),
    /// Answer a GET with this status, within 1 s.
    Http {
        /// Where it is asked.
        port: u16,
        /// Begins with `/`; with query, if any.
        path: String,
        /// From 100 to 599; redirects are not followed.
        status: u16,
    },
}

/// One entry of the answer, in the order of the addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeOutcome {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether it has passed.
    pub ready: bool,
    /// Why it has not, as in `connection refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
