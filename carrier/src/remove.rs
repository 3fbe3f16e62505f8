//! Removing volumes on this node.

use std::collections::BTreeSet;
use std::ops::ControlFlow::{Break, Continue};
use std::time::{Duration, Instant};

use atq_node_protocol::order::Remove;
use atq_node_protocol::outcome::CarrierOutcome;
use atq_retry::blocking::poll_until;

use crate::docker::{Docker, VolumeRemoval};
use crate::problem::Problem;

/// A container may hold its volumes for some seconds after its service is removed.
const RETRY_FOR: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Removes the volumes of the order; absent volumes count as removed.
///
/// # Errors
/// Names the volumes that could not be removed, with the reasons.
pub fn run(docker: &Docker, order: &Remove) -> Result<CarrierOutcome, Problem> {
    let until = Instant::now() + RETRY_FOR;
    let mut all: BTreeSet<String> = order.volumes.iter().cloned().collect();
    let mut left = all.clone();
    let ended = poll_until(until, POLL_INTERVAL, || {
        let mut reasons = Vec::new();
        for labels in &order.labels {
            match docker.volumes(labels) {
                Ok(found) => left.extend(found),
                Err(problem) => reasons.push(problem),
            }
        }
        all.extend(left.iter().cloned());
        reasons.extend(remove_once(docker, &mut left));
        if reasons.is_empty() {
            return Break(Ok(CarrierOutcome::default()));
        }
        let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let text = match (left.len(), all.len()) {
            (0, _) => texts.join("; "),
            (failed, all) => format!("{failed} of {all} volumes not removed: ") + &texts.join("; "),
        };
        match reasons.iter().any(Problem::is_temporary) {
            true => Continue(Problem::permanent(text)),
            false => Break(Err(Problem::permanent(text))),
        }
    });
    ended.flatten()
}

/// Tries to remove each volume once; keeps the others in `left` and returns the reasons.
fn remove_once(docker: &Docker, left: &mut BTreeSet<String>) -> Vec<Problem> {
    let mut reasons = Vec::new();
    left.retain(|name| match docker.remove_volume(name) {
        Ok(VolumeRemoval::Gone) => false,
        Ok(VolumeRemoval::InUse(message)) => {
            reasons.push(Problem::temporary(format!("`{name}`: {message}")));
            true
        }
        Err(problem) => {
            reasons.push(problem);
            true
        }
    });
    reasons
}
