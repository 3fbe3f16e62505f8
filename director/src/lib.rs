//! ATQ Director: runs distributed load tests on Docker Swarm.

pub mod discovery;
pub mod evidence;
pub mod store;
pub mod swarm;
pub mod task;
