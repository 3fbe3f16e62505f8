//! The Director's open files, child processes and log.

use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

/// Timeout for connections to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of log lines in error messages.
const TAIL_LINES: usize = 60;

/// Number of open files.
///
/// # Errors
/// When the process does not exist.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Waits until there are at most `before` open files or the timeout expires, and returns their number.
///
/// # Errors
/// When the process does not exist.
pub async fn settled_open_files(pid: u32, before: usize) -> Result<usize> {
    let begun = Instant::now();
    loop {
        let now = open_files(pid)?;
        if now <= before || begun.elapsed() > CLOSE_TIMEOUT {
            return Ok(now);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Number of child processes.
///
/// # Errors
/// When the process does not exist.
pub fn children(pid: u32) -> Result<usize> {
    let mut count = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may exit meanwhile.
        let children = std::fs::read_to_string(thread?.path().join("children"));
        count += children.unwrap_or_default().split_whitespace().count();
    }
    Ok(count)
}

/// The log of all Directors in `dir`.
pub fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("director.log")).unwrap_or_default()
}

/// The last lines of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Errors and panics in a log.
pub fn log_errors(log: &str) -> impl Iterator<Item = String> {
    log.lines()
        .filter(|line| line.contains(" ERROR ") || line.contains("panicked"))
        .map(|line| format!("the Director's log: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_found() {
        let log =
            "t  INFO a task\nt ERROR the store\nthread 'x' panicked at y\nt  WARN task failed";
        let found: Vec<String> = log_errors(log).collect();
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_tail_of_a_short_log_is_the_whole_log() {
        assert_eq!(tail("a\nb"), "a\nb");
        assert_eq!(tail(&"x\n".repeat(100)).lines().count(), TAIL_LINES);
    }
}
