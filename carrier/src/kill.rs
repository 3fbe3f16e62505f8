//! Killing the containers of a run on this node.

use std::ops::ControlFlow::{Break, Continue};
use std::time::{Duration, Instant};

use atq_node_protocol::order::Kill;
use atq_node_protocol::outcome::CarrierOutcome;
use atq_retry::blocking::poll_until;

use crate::docker::{ContainerSummary, Docker, ROLE_LABEL, RUN_LABEL};
use crate::problem::Problem;

/// The Engine lists a killed container for a moment longer.
const RETRY_FOR: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Kills the running containers of the order until none is left.
///
/// # Errors
/// Names the containers that still run, or Docker's reason.
pub fn run(docker: &Docker, order: &Kill) -> Result<CarrierOutcome, Problem> {
    let label = format!("{RUN_LABEL}={}", order.run);
    let until = Instant::now() + RETRY_FOR;
    let ended = poll_until(until, POLL_INTERVAL, || {
        match kill_once(docker, &label, order) {
            Ok(left) if left.is_empty() => Break(Ok(CarrierOutcome::default())),
            Ok(left) => {
                let text = format!("still running after SIGKILL: {}", left.join(", "));
                Continue(Problem::permanent(text))
            }
            Err(problem) if problem.is_temporary() => Continue(problem),
            Err(problem) => Break(Err(problem)),
        }
    });
    ended.flatten()
}

/// Kills each matching container once; returns the ids of those that were running.
fn kill_once(docker: &Docker, label: &str, order: &Kill) -> Result<Vec<String>, Problem> {
    let is_in_order = |one: &ContainerSummary| {
        let role = one.labels.get(ROLE_LABEL);
        role.is_some_and(|role| order.roles.contains(role))
    };
    let running = docker.running_containers(label)?;
    let selected = running.into_iter().filter(is_in_order);
    selected
        .map(|one| docker.kill(&one.id).map(|()| one.id))
        .collect()
}
