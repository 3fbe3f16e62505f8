//! Killing the containers of a run on this node.

use std::ops::ControlFlow::{Break, Continue};
use std::time::{Duration, Instant};

use atq_node_protocol::order::Kill;
use atq_patience::blocking::poll_until;

use crate::docker::{Docker, Listed, ROLE, RUN};
use crate::problem::Problem;
use crate::words::Done;

/// How long it is tried: the Engine lists a container that was killed for a moment.
const TRY_FOR: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Kills what runs of the order, until nothing does.
///
/// # Errors
/// Names the containers that still run, or why Docker does not kill them.
pub fn run(docker: &Docker, order: &Kill) -> Result<Done, Problem> {
    let label = format!("{RUN}={}", order.run);
    let until = Instant::now() + TRY_FOR;
    let ended = poll_until(until, PAUSE, || match pass(docker, &label, order) {
        Ok(left) if left.is_empty() => Break(Ok(Done::default())),
        Ok(left) => {
            let text = format!("still running after SIGKILL: {}", left.join(", "));
            Continue(Problem::lasting(text))
        }
        Err(problem) if problem.is_passing() => Continue(problem),
        Err(problem) => Break(Err(problem)),
    });
    ended.flatten()
}

/// Kills each once; gives the ids of those that ran.
fn pass(docker: &Docker, label: &str, order: &Kill) -> Result<Vec<String>, Problem> {
    let is_meant = |one: &Listed| {
        let role = one.labels.get(ROLE);
        role.is_some_and(|role| order.roles.contains(role))
    };
    let running = docker.running(label)?;
    let meant = running.into_iter().filter(is_meant);
    meant
        .map(|one| docker.kill(&one.id).map(|()| one.id))
        .collect()
}
