//! The Director as the kernel and its log see it.

use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long connections may take to close.
const CLOSES: Duration = Duration::from_secs(10);
/// Lines of a log that help.
const LAST: usize = 60;

/// Number of open files.
///
/// # Errors
/// When there is no such process.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Number of open files once there are as few as `before`, or after a while.
///
/// # Errors
/// When there is no such process.
pub async fn open_files_at_rest(pid: u32, before: usize) -> Result<usize> {
    let begun = Instant::now();
    loop {
        let now = open_files(pid)?;
        if now <= before || begun.elapsed() > CLOSES {
            return Ok(now);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Number of children.
///
/// # Errors
/// When there is no such process.
pub fn children(pid: u32) -> Result<usize> {
    let mut count = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let children = std::fs::read_to_string(thread?.path().join("children"));
        count += children.unwrap_or_default().split_whitespace().count();
    }
    Ok(count)
}

/// The log of all Directors in `dir`.
pub fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("director.log")).unwrap_or_default()
}

/// The end of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LAST)..].join("\n")
}

/// Lines of a log that must not be there.
pub fn complaints(log: &str) -> impl Iterator<Item = String> {
    log.lines()
        .filter(|line| line.contains(" ERROR ") || line.contains("panicked"))
        .map(|line| format!("the Director's log: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_complaints() {
        let log =
            "t  INFO a task\nt ERROR the store\nthread 'x' panicked at y\nt  WARN task failed";
        let found: Vec<String> = complaints(log).collect();
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_tail_of_a_short_log_is_all_of_it() {
        assert_eq!(tail("a\nb"), "a\nb");
        assert_eq!(tail(&"x\n".repeat(100)).lines().count(), LAST);
    }
}
