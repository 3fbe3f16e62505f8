//! What goes wrong, as one sentence for people.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use atq_patience::blocking::retry;

/// Between one try and the next.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Why the work is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    text: String,
    passing: bool,
}

impl Problem {
    /// One that another try would meet again.
    pub fn lasting(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            passing: false,
        }
    }

    /// One that may be gone at the next try.
    pub fn passing(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            passing: true,
        }
    }

    /// The disk failed while `action` (a verb with its object) was done to `path`.
    pub fn disk(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let subject = format!("cannot {action} `{}`", path.display());
        move |error| Self::lasting(format!("{subject}: {}", reason(&error)))
    }

    /// Whether another try may help.
    pub fn is_passing(&self) -> bool {
        self.passing
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What the operating system said, without its number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// Tries three times, as long as the problem may pass and there is time.
///
/// # Errors
/// The last problem.
pub fn tried<T>(until: Instant, work: impl FnMut() -> Result<T, Problem>) -> Result<T, Problem> {
    retry(
        PAUSES,
        until,
        work,
        Problem::is_passing,
        |problem, pause| {
            eprintln!("{problem}; another try in {} ms", pause.as_millis());
        },
    )
}

/// A size in the unit in which people think of it.
pub fn size(bytes: u64) -> String {
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
