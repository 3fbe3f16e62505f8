//! Removing volumes on this node.

use std::ops::ControlFlow::{Break, Continue};
use std::time::{Duration, Instant};

use atq_node_protocol::order::Remove;
use atq_patience::blocking::poll_until;

use crate::docker::{Docker, Removed};
use crate::problem::Problem;
use crate::words::Done;

/// A container holds its volumes for some seconds after its service is gone.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// Removes what the order names; volumes that are not there are fine.
///
/// # Errors
/// Names those that are left.
pub fn run(docker: &Docker, order: &Remove) -> Result<Done, Problem> {
    let until = Instant::now() + PATIENCE;
    let mut left: Vec<&str> = order.volumes.iter().map(String::as_str).collect();
    let ended = poll_until(until, PAUSE, || {
        let reasons = pass(docker, &mut left);
        if left.is_empty() {
            return Break(Ok(Done::default()));
        }
        let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let text = format!("{} of the volumes are left: ", left.len()) + &texts.join("; ");
        match reasons.iter().any(Problem::is_passing) {
            true => Continue(Problem::lasting(text)),
            false => Break(Err(Problem::lasting(text))),
        }
    });
    ended.flatten()
}

/// Tries each once; gives the reasons why the rest is `left`.
fn pass(docker: &Docker, left: &mut Vec<&str>) -> Vec<Problem> {
    let mut reasons = Vec::new();
    left.retain(|name| match docker.remove_volume(name) {
        Ok(Removed::Gone) => false,
        Ok(Removed::InUse(said)) => {
            reasons.push(Problem::passing(format!("`{name}`: {said}")));
            true
        }
        Err(problem) => {
            reasons.push(problem);
            true
        }
    });
    reasons
}
