//! Uploading results to the Director.

use std::io::{self, Read};
use std::time::Instant;

use crate::args::Args;
use atq_node_protocol::order::{Collect, Container};
use atq_node_protocol::outcome::CarrierOutcome;

use crate::docker::Docker;
use crate::http::{Director, encode_query};
use crate::problem::{Problem, reason, with_retries};

/// Directory of the results in master and workers.
const RESULTS_DIR: &str = "/atq/results";

/// Uploads the results of the order's containers on this node. A failed container does not stop the others.
///
/// # Errors
/// Names the containers whose results were not uploaded, with the reasons.
pub fn run(args: &Args, order: &Collect, until: Instant) -> Result<CarrierOutcome, Problem> {
    let docker = Docker::at(&args.docker_socket);
    let director = Director::at(&order.url, order.certificate.as_deref(), args, until)?;
    let mut summary = CarrierOutcome::default();
    let mut problems = Vec::new();
    for container in &order.containers {
        let mut unreadable = false;
        let outcome = with_retries(until, || {
            upload(&docker, &director, &order.run, container, &mut unreadable)
        });
        match outcome {
            Ok(bytes) => summary.bytes += bytes,
            Err(problem) => {
                if unreadable {
                    report_unreadable(&director, &order.run, container, &problem);
                }
                problems.push(format!("{}: {problem}", container.source));
            }
        }
    }
    if problems.is_empty() {
        return Ok(summary);
    }
    Err(Problem::permanent(problems.join("; ")))
}

/// Uploads the results of one container; 0 bytes when it is not on this node or has no results. Afterwards `unreadable`
/// is true when reading from Docker failed.
fn upload(
    docker: &Docker,
    director: &Director,
    run: &str,
    container: &Container,
    unreadable: &mut bool,
) -> Result<u64, Problem> {
    *unreadable = true;
    let Some(tar) = docker.archive(&container.id, RESULTS_DIR)? else {
        return Ok(0);
    };
    let mut tar = CountingReader {
        source: tar,
        bytes: 0,
        error: None,
    };
    let path = format!("{run}/results/{}", container.source);
    let sent = director.put(&path, &mut tar);
    // A failed read is Docker's error, although the HTTP client returns it as its own.
    if let Some(why) = tar.error {
        return Err(Problem::temporary(format!(
            "cannot read `{RESULTS_DIR}` of container `{}`: {why}",
            container.id
        )));
    }
    *unreadable = false;
    sent.map(|_| tar.bytes)
}

/// Reports to the Director that results exist but cannot be read. Best effort: the final report names the problem, too.
fn report_unreadable(director: &Director, run: &str, container: &Container, problem: &Problem) {
    let text = encode_query(&problem.to_string());
    let path = format!("{run}/results/{}?problem={text}", container.source);
    if let Err(problem) = director.put(&path, &mut io::empty()) {
        eprintln!("{problem}");
    }
}

/// Counts the bytes read, and keeps the error of a failed read.
struct CountingReader<R> {
    source: R,
    bytes: u64,
    error: Option<String>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.source.read(buffer) {
            Ok(count) => {
                self.bytes += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.error = Some(reason(&error));
                Err(error)
            }
        }
    }
}
