//! ATQ Director: runs distributed load tests on Docker Swarm.

pub mod bundle;
pub mod config;
pub mod discovery;
pub mod evidence;
pub mod orchestrator;
pub mod store;
pub mod swarm;
pub mod task;
