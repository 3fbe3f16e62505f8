//! The final report of a carrier: one line of JSON on stdout, read by the Director.

use std::io::{self, Write as _};
use std::sync::Mutex;
use std::time::Instant;

use atq_node_protocol::order::Work;
use atq_node_protocol::outcome::CarrierOutcome;

use crate::problem::Problem;

/// Writes the final report, once.
#[derive(Debug)]
pub struct Reporter {
    work: Work,
    node: String,
    began: Instant,
    reported: Mutex<bool>,
}

impl Reporter {
    /// The reporter of a carrier that starts now.
    pub fn new(work: Work, node: &str) -> Self {
        Self {
            work,
            node: node.to_owned(),
            began: Instant::now(),
            reported: Mutex::new(false),
        }
    }

    /// Writes the report, unless it was written before. `outcome` has the figures of completed work.
    pub fn report(&self, outcome: &Result<CarrierOutcome, Problem>) {
        let report = CarrierOutcome {
            done: outcome.is_ok(),
            work: self.work.as_str().to_owned(),
            node: self.node.clone(),
            millis: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            problem: outcome.as_ref().err().map(ToString::to_string),
            ..outcome.clone().unwrap_or_default()
        };
        let Ok(mut reported) = self.reported.lock() else {
            return;
        };
        if *reported {
            return;
        }
        *reported = true;
        if let Ok(mut line) = serde_json::to_vec(&report) {
            line.push(b'\n');
            let mut out = io::stdout().lock();
            // With stdout closed, the exit code is the only report.
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }
}
