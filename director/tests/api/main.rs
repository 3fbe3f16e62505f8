//! Tests of the HTTP API through the real router: with a store and bundles in a temporary directory, on a simulated
//! Swarm.
#![allow(clippy::unwrap_used)]

mod access;
mod access_table;
mod additions;
mod audit;
mod browser;
mod carrier_routes;
mod contract_2018;
mod definition_fields;
mod document;
mod exchange;
mod fixture;
mod hosts;
mod invalid_requests;
mod live;
mod local_validation;
mod metrics;
mod reports;
mod run_terms;
mod security_headers;
mod sessions;
mod streams_and_manifest;
mod tables;
mod tokens;
mod uploads;
