//! The carrier: a short-lived program that performs one job on one node for the Director.
//!
//! The Director starts it as a service on the nodes, on Docker's `host` network, with an order in the environment. There are
//! six kinds of work: [`fetch`] downloads a bundle into a volume, [`remove`] removes volumes, [`collect`] uploads results to the
//! Director, [`watch`] reports CPU usage, [`kill`] kills containers, [`tail`] sends results as they grow. The last line on stdout is a
//! [`CarrierOutcome`](atq_node_protocol::outcome) as JSON.
//!
//! The carrier has no asynchronous code: it performs its work in sequence, and its image stays small. It must not depend on
//! the Director or an engine.

pub mod args;
pub mod collect;
pub mod cpu_usage;
pub mod docker;
pub mod early_response;
pub mod fetch;
pub mod http;
pub mod kill;
pub mod order;
pub mod problem;
pub mod remove;
pub mod report;
pub mod split;
pub mod tail;
pub mod volume;
pub mod watch;

use std::time::{Duration, Instant};

use args::Args;
use atq_node_protocol::order::Order;
use atq_node_protocol::outcome::CarrierOutcome;
use problem::Problem;

/// Performs the work given by the arguments; returns its figures.
///
/// # Errors
/// The reason why the work failed, as a readable sentence.
pub fn run(args: &Args) -> Result<CarrierOutcome, Problem> {
    let began = Instant::now();
    let within = |seconds: u64| began + Duration::from_secs(seconds);
    let docker = || docker::Docker::at(&args.docker_socket);
    match order::read(args.work, &args.order)? {
        Order::Fetch(order) => fetch::run(args, &order, within(order.seconds)),
        Order::Remove(order) => remove::run(&docker(), &order),
        Order::Collect(order) => collect::run(args, &order, within(order.seconds)),
        Order::Watch(order) => watch::run(args, &order),
        Order::Kill(order) => kill::run(&docker(), &order),
        Order::Tail(order) => tail::run(args, &order),
    }
}
