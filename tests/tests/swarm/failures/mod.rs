//! Every way in which a task ends badly, on a real Swarm, and the words for it. Each test plays many
//! tasks side by side in one Director and prints a line for each of them.

mod case;

mod away;
mod loss;
mod master;
mod network;
mod sidecar;
mod start;
mod wait;
