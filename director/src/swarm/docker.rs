//! The real Swarm, over the Docker API.
