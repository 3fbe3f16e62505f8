//! ATQ Director: runs distributed load tests on Docker Swarm.

pub mod swarm;
pub mod task;
