//! Tests of the program: with Mosquitto (`deploy/setup.sh mosquitto`), and with a broker of the tests that misbehaves.
#![allow(clippy::unwrap_used)]

mod fake;
mod harness;
mod limits;
mod misbehaving;
mod mosquitto;
mod publishing;
mod reconnect;
mod security;
