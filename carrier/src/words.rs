//! The last words: what the Director reads of a carrier.

use std::io::{self, Write as _};
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

use crate::args::Work;
use crate::problem::Problem;

/// One line of JSON, the last on stdout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Words<'a> {
    /// Whether all of the order was carried out.
    pub done: bool,
    /// Which work it was.
    pub work: &'static str,
    /// The node's id.
    pub node: &'a str,
    /// Whether the bundle was fetched; false when it was there.
    pub fetched: bool,
    /// Bytes that went between Director and node.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The node's clock minus the Director's, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Why it is not done.
    pub problem: Option<String>,
}

/// What the work came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// See [`Words::fetched`].
    pub fetched: bool,
    /// See [`Words::bytes`].
    pub bytes: u64,
    /// See [`Words::clock_offset_ms`].
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
        let words = Words {
            done: outcome.is_ok(),
            work: self.work.as_str(),
            node: &self.node,
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
