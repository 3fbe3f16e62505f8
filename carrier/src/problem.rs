//! Errors of a carrier, each as one readable sentence.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use atq_retry::blocking::retry;
use thiserror::Error;

/// Delays before the second and the third attempt.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// The reason why the work failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct Problem {
    text: String,
    temporary: bool,
}

impl Problem {
    /// A permanent problem: a retry would fail, too.
    pub fn permanent(text: impl Into<String>) -> Self {
        Self::new(text, false)
    }

    /// A temporary problem: a retry may succeed.
    pub fn temporary(text: impl Into<String>) -> Self {
        Self::new(text, true)
    }

    /// A problem; `temporary` if a retry may succeed.
    pub fn new(text: impl Into<String>, temporary: bool) -> Self {
        let text = text.into();
        Self { text, temporary }
    }

    /// An I/O error during `action` (a verb with its object) on `path`.
    pub fn disk(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let subject = format!("cannot {action} `{}`", path.display());
        move |error| Self::permanent(format!("{subject}: {}", reason(&error)))
    }

    /// Whether a retry may succeed.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}

/// The message of the operating system, without the error number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// Runs `work` up to three times, while its problem is temporary and the deadline is not reached.
///
/// # Errors
/// The last problem.
pub fn with_retries<T>(
    until: Instant,
    work: impl FnMut() -> Result<T, Problem>,
) -> Result<T, Problem> {
    retry(
        RETRY_DELAYS,
        until,
        work,
        Problem::is_temporary,
        |problem, delay| {
            eprintln!("{problem}; retrying in {} ms", delay.as_millis());
        },
    )
}

/// A size in the largest fitting binary unit.
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
