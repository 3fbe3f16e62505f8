//! The carrier: one short piece of work on one node, for the Director.
//!
//! The Director starts it as a service on the nodes, on Docker's `host` network, with an order in the environment. What it
//! does is one of five: [`fetch`] brings a bundle into a volume, [`remove`] removes volumes, [`collect`] takes results to the Director,
//! [`watch`] tells how busy the node is, [`kill`] kills containers. Its last line on stdout is one line of JSON, a [`CarrierOutcome`](atq_node_protocol::outcome::CarrierOutcome).
//!
//! Nothing here is asynchronous: a carrier does one thing after the other, and must be small and lean.

pub mod args;
pub mod collect;
pub mod deaf;
pub mod docker;
pub mod fetch;
pub mod http;
pub mod kill;
pub mod load;
pub mod order;
pub mod problem;
pub mod remove;
pub mod split;
pub mod volume;
pub mod watch;
pub mod words;

use std::time::{Duration, Instant};

use args::Args;
use atq_node_protocol::order::Order;
use problem::Problem;
use words::Done;

/// Does the work that the arguments name.
///
/// # Errors
/// What kept it from being done, as a sentence for people.
pub fn run(args: &Args) -> Result<Done, Problem> {
    let began = Instant::now();
    let within = |seconds: u64| began + Duration::from_secs(seconds);
    let docker = || docker::Docker::at(&args.docker_socket);
    match order::read(args.work, &args.order)? {
        Order::Fetch(order) => fetch::run(args, &order, within(order.seconds)),
        Order::Remove(order) => remove::run(&docker(), &order),
        Order::Collect(order) => collect::run(args, &order, within(order.seconds)),
        Order::Watch(order) => watch::run(args, &order),
        Order::Kill(order) => kill::run(&docker(), &order),
    }
}
