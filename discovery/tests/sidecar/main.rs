//! The sidecar against a scripted DNS server.
#![allow(clippy::unwrap_used)]

mod client;
mod dns;
mod workers;

mod contract;
mod long_poll;
mod probe;
mod probe_request;
mod program;
mod scale;
