//! Every way in which a task fails, on a real Swarm, with code, message and hint. Each test runs many tasks concurrently
//! in one Director and prints a line for each of them.

mod case;

mod container_start;
mod docker_unavailable;
mod master;
mod network;
mod sidecar;
mod wait_command;
mod worker_loss;
