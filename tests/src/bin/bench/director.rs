//! The Director under measurement: its data directory and its memory.

use anyhow::{Context, Result};
use atq_tests::director::{Director, binary};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Creates a temporary directory on the disk of the build. `/tmp` may be in memory, which would make every write faster.
///
/// # Errors
/// When it cannot be created.
pub fn temp_dir() -> Result<TempDir> {
    let binary = binary()?;
    let parent = binary.parent().context("the binary has no directory")?;
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(parent)
        .context("cannot create a directory for data")
}

/// Starts a Director with the benchmark's id in `dir`.
///
/// # Errors
/// When it does not start.
pub async fn start(dir: &Path, more: &str) -> Result<Director> {
    Director::start(&binary()?, dir, &format!("directorId: bench\n{more}")).await
}

/// A value of `/proc/PID/status`, for example `VmRSS`, in MiB.
///
/// # Errors
/// When the process does not exist.
pub fn memory(pid: u32, field: &str) -> Result<f64> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let status =
        std::fs::read_to_string(&path).with_context(|| format!("process {pid} has exited"))?;
    let kilobytes = status.lines().find_map(|line| {
        line.strip_prefix(field)?
            .strip_prefix(':')?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    });
    Ok(kilobytes.with_context(|| format!("`{}` has no `{field}`", path.display()))? / 1024.0)
}
