//! Shared by the tests on a real Swarm, the benchmarks and the demo: the Director as a child process, a client of its
//! API, and Docker's own lists.

pub mod authority;
pub mod browser;
pub mod bundle;
pub mod cli;
pub mod client;
pub mod counters;
pub mod director;
pub mod docker;
pub mod engine;
pub mod example;
pub mod failure_watcher;
pub mod fixture;
pub mod gateway;
pub mod gitlab;
pub mod image;
pub mod isolation;
pub mod jmeter;
pub mod jtl;
pub mod live;
pub mod netns;
pub mod nodes;
pub mod readers;
pub mod registry;
pub mod sample_reports;
pub mod soak;
pub mod stats;
pub mod sync;
