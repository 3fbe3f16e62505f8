//! The sidecar against a DNS server of the test's own.
#![allow(clippy::unwrap_used)]

mod client;
mod dns;
mod workers;

mod contract;
mod long_poll;
mod order;
mod probe;
mod program;
mod scale;
