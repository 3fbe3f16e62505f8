//! The HTTP contract, through the real router: with a store and bundles in a temporary directory, and
//! a model of a Swarm behind it.
#![allow(clippy::unwrap_used)]

mod carrier;
mod document;
mod fields;
mod fixture;
mod layer1;
mod layer2;
mod limits;
mod live;
mod local;
mod reports;
mod tables;
mod uploads;
mod wrong;
