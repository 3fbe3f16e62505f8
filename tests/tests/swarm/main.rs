//! Tests on the real Swarm of this machine, and of report pages in a real browser. Each has its own Director, so they run
//! concurrently, except those that `ALONE` in the Makefile lists.
#![allow(missing_docs, clippy::unwrap_used)]

mod atq;
mod atq_bundles;
mod atq_evidence;
mod concurrency;
mod delivery;
mod demo;
mod examples;
mod failures;
mod follow;
mod gitlab;
mod isolation;
mod jmeter_figures;
mod live;
mod mqtt_devices;
mod openapi_clients;
mod readiness;
mod registry;
mod report_page;
mod restarts;
mod result_files;
mod results;
mod runs;
mod soak;
mod stack;
mod stop_and_delete;
mod sync;
mod verdict;
