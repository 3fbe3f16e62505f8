//! What the tests on a real Swarm, the benchmarks and the demo have in common: a Director as a
//! process of its own, a client of its API, and Docker's own lists.

pub mod browser;
pub mod bundle;
pub mod cli;
pub mod client;
pub mod director;
pub mod docker;
pub mod engine;
pub mod gateway;
pub mod gitlab;
pub mod image;
pub mod jmeter;
pub mod jtl;
pub mod nodes;
pub mod pages;
pub mod readers;
pub mod registry;
pub mod soak;
pub mod stage;
pub mod stats;
pub mod witness;
