//! The last words: what the Director reads of a carrier.

use std::io::{self, Write as _};
use std::sync::Mutex;
use std::time::Instant;

use atq_node_protocol::order::Work;
use atq_node_protocol::outcome::CarrierOutcome;

use crate::problem::Problem;

/// What the work came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// See [`CarrierOutcome::fetched`].
    pub fetched: bool,
    /// See [`CarrierOutcome::bytes`].
    pub bytes: u64,
    /// See [`CarrierOutcome::clock_offset_ms`].
    pub clock_offset_ms: Option<i64>,
}

/// Who says the last words, once.
#[derive(Debug)]
pub struct Teller {
    work: Work,
    node: String,
    began: Instant,
    told: Mutex<bool>,
}

impl Teller {
    /// The teller of a carrier that begins now.
    pub fn new(work: Work, node: &str) -> Self {
        Self {
            work,
            node: node.to_owned(),
            began: Instant::now(),
            told: Mutex::new(false),
        }
    }

    /// Says how it went, unless that was said before.
    pub fn tell(&self, outcome: &Result<Done, Problem>) {
        let done = outcome.as_ref().copied().unwrap_or_default();
        let words = CarrierOutcome {
            done: outcome.is_ok(),
            work: self.work.as_str().to_owned(),
            node: self.node.clone(),
            fetched: done.fetched,
            bytes: done.bytes,
            millis: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            clock_offset_ms: done.clock_offset_ms,
            problem: outcome.as_ref().err().map(ToString::to_string),
        };
        let Ok(mut told) = self.told.lock() else {
            return;
        };
        if *told {
            return;
        }
        *told = true;
        if let Ok(mut line) = serde_json::to_vec(&words) {
            line.push(b'\n');
            let mut out = io::stdout().lock();
            // Nobody listens any more: the exit code is all that is left.
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }
}
