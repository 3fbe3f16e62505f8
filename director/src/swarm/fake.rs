//! A model of a Swarm.
