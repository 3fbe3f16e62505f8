//! Tests of the HTTP API through the real router: with a store and bundles in a temporary directory, on a simulated
//! Swarm.
#![allow(clippy::unwrap_used)]

mod additions;
mod carrier_routes;
mod contract_2018;
mod definition_fields;
mod document;
mod fixture;
mod invalid_requests;
mod local_validation;
mod reports;
mod run_terms;
mod streams_and_manifest;
mod tables;
mod uploads;
