//! The Director under measurement: where it is built, where its data are, what the kernel says of it.

use anyhow::{Context, Result};
use atq_tests::director::{Director, binary};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory on the disk that holds the build: `/tmp` may be memory, which would flatter every
/// write.
///
/// # Errors
/// When it cannot be made.
pub fn directory() -> Result<TempDir> {
    let binary = binary()?;
    let parent = binary.parent().context("the binary has no directory")?;
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(parent)
        .context("cannot make a directory for data")
}

/// A Director with the benchmark's id in `dir`.
///
/// # Errors
/// When it does not start.
pub async fn director(dir: &Path, more: &str) -> Result<Director> {
    Director::start(&binary()?, dir, &format!("directorId: bench\n{more}")).await
}

/// A value of `/proc/PID/status`, for example `VmRSS`, in MiB.
///
/// # Errors
/// When the process is not there.
pub fn memory(pid: u32, field: &str) -> Result<f64> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let status =
        std::fs::read_to_string(&path).with_context(|| format!("process {pid} has ended"))?;
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
