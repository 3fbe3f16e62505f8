//! Taking results to the Director.

use std::io::{self, Read};
use std::time::Instant;

use crate::args::Args;
use atq_node_protocol::order::{Collect, Container};

use crate::docker::Docker;
use crate::http::{Director, query_text};
use crate::problem::{Problem, reason, tried};
use crate::words::Done;

/// Where master and workers leave their results.
const RESULTS: &str = "/atq/results";

/// Takes the results of all containers of the order that are on this node. One that fails holds up no other.
///
/// # Errors
/// Names the containers whose results the Director does not have, and why.
pub fn run(args: &Args, order: &Collect, until: Instant) -> Result<Done, Problem> {
    let docker = Docker::at(&args.docker_socket);
    let director = Director::at(&order.url, args, until)?;
    let mut done = Done::default();
    let mut problems = Vec::new();
    for container in &order.containers {
        let mut unread = false;
        let outcome = tried(until, || {
            one(&docker, &director, &order.run, container, &mut unread)
        });
        match outcome {
            Ok(bytes) => done.bytes += bytes,
            Err(problem) => {
                if unread {
                    confess(&director, &order.run, container, &problem);
                }
                problems.push(format!("{}: {problem}", container.source));
            }
        }
    }
    if problems.is_empty() {
        return Ok(done);
    }
    Err(Problem::lasting(problems.join("; ")))
}

/// Takes the results of one container; 0 bytes when it is not here or has left none. `unread` tells afterwards whether it
/// was Docker that failed.
fn one(
    docker: &Docker,
    director: &Director,
    run: &str,
    container: &Container,
    unread: &mut bool,
) -> Result<u64, Problem> {
    *unread = true;
    let Some(tar) = docker.archive(&container.id, RESULTS)? else {
        return Ok(0);
    };
    let mut tar = Counted {
        from: tar,
        bytes: 0,
        failed: None,
    };
    let path = format!("{run}/results/{}", container.source);
    let sent = director.put(&path, &mut tar);
    // Who fails at the reader is Docker, whatever the Director's client makes of it.
    if let Some(why) = tar.failed {
        return Err(Problem::passing(format!(
            "cannot read `{RESULTS}` of container `{}`: {why}",
            container.id
        )));
    }
    *unread = false;
    sent.map(|_| tar.bytes)
}

/// Tells the Director that there is something which could not be read. The last words say it anyway.
fn confess(director: &Director, run: &str, container: &Container, problem: &Problem) {
    let text = query_text(&problem.to_string());
    let path = format!("{run}/results/{}?problem={text}", container.source);
    if let Err(problem) = director.put(&path, &mut io::empty()) {
        eprintln!("{problem}");
    }
}

/// Counts what passes, and keeps what went wrong.
struct Counted<R> {
    from: R,
    bytes: u64,
    failed: Option<String>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.from.read(buffer) {
            Ok(count) => {
                self.bytes += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.failed = Some(reason(&error));
                Err(error)
            }
        }
    }
}
