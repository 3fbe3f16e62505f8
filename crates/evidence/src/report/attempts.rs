//! Breaks crash loops: results are not read again after two crashes of the process during reading.

use std::path::{Path, PathBuf};

/// Number of crashes after which the results of a run are not read again.
const MAX_CRASHES: u32 = 2;

/// A reading in progress. Its marker file exists until this value is dropped, so that only a crash leaves it
/// behind.
#[derive(Debug)]
pub(super) struct Attempt(PathBuf);

impl Attempt {
    /// Counts the attempt and starts to read the results below the directory of a run.
    pub(super) fn begin(run: &Path) -> Result<Self, String> {
        let path = run.join("report.attempts");
        let before = std::fs::read_to_string(&path).ok();
        let before = before
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        if before >= MAX_CRASHES {
            return Err(format!(
                "the Director ended {before} times while reading these results; they are not read again, but the files are kept"
            ));
        }
        let marked = std::fs::create_dir_all(run)
            .and_then(|()| std::fs::write(&path, (before + 1).to_string()));
        // Failing to count the attempt must not prevent the report.
        if let Err(error) = marked {
            tracing::warn!(%error, "cannot write `{}`", path.display());
        }
        Ok(Self(path))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
