//! Retries with exponential backoff, and polling with a deadline.
//!
//! - [`Pauses`]: the backoff; [`Backoff`]: the pauses of a loop that restarts it after progress;
//! - [`blocking`]: functions for programs without a runtime;
//! - `retry`, `poll_until` and `Deadline` (feature `tokio`): the same for asynchronous code.
//!
//! The crate must not depend on other crates of the workspace: all programs use it.
//!
//! ```
//! use atq_retry::{Pauses, blocking};
//! use std::time::{Duration, Instant};
//!
//! let pauses = Pauses {
//!     first: Duration::from_millis(1),
//!     longest: Duration::from_millis(4),
//! };
//! let deadline = Instant::now() + Duration::from_secs(10);
//! let mut calls = 0;
//! let call = || {
//!     calls += 1;
//!     if calls == 3 { Ok(calls) } else { Err("busy") }
//! };
//! let is_temporary = |error: &&str| *error == "busy";
//! let answer = blocking::retry(pauses, deadline, call, is_temporary, |_, _| {});
//! assert_eq!(answer, Ok(3));
//! ```

#[cfg(feature = "tokio")]
mod asynchronous;
pub mod blocking;
#[cfg(feature = "tokio")]
mod deadline;

#[cfg(feature = "tokio")]
pub use asynchronous::{poll_until, retry, retry_with};
#[cfg(feature = "tokio")]
pub use deadline::Deadline;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;

/// Exponential backoff without an end: each pause is twice as long as the previous one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl IntoIterator for Pauses {
    type Item = Duration;
    type IntoIter = ExponentialBackoff;

    fn into_iter(self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .without_max_times()
            .build()
    }
}

/// The pauses of a loop that restarts the backoff after progress.
#[derive(Debug)]
pub struct Backoff {
    pauses: Pauses,
    rest: ExponentialBackoff,
}

impl Backoff {
    /// Starts with the first pause.
    pub fn new(pauses: Pauses) -> Self {
        let rest = pauses.into_iter();
        Self { pauses, rest }
    }

    /// Restarts with the first pause.
    pub fn reset(&mut self) {
        *self = Self::new(self.pauses);
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        self.rest.next().unwrap_or(self.pauses.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again() {
        let pauses = Pauses {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(10),
        };
        let mut backoff = Backoff::new(pauses);
        let mut next = |count| -> Vec<u128> {
            let pauses = (0..count).map(|_| backoff.next_pause().as_millis());
            pauses.collect()
        };
        assert_eq!(next(4), [200, 400, 800, 1600]);
        assert_eq!(next(3), [3200, 6400, 10_000]);
        assert_eq!(next(1000).last(), Some(&10_000));
        backoff.reset();
        assert_eq!(backoff.next_pause(), pauses.first);
    }
}
