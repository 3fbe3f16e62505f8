//! Ends a crash loop: results whose reading has ended the process twice are not read again.

use std::path::{Path, PathBuf};

/// How often the process may end while the results of a run are read.
const MOST: u32 = 2;

/// Results are being read. A file says so until this is dropped, so that only the end of the process
/// leaves it behind.
#[derive(Debug)]
pub(super) struct Attempt(PathBuf);

impl Attempt {
    /// Begins to read the results below the directory of a run.
    pub(super) fn begin(run: &Path) -> Result<Self, String> {
        let path = run.join("report.attempts");
        let before = std::fs::read_to_string(&path).ok();
        let before = before
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        if before >= MOST {
            return Err(format!(
                "the Director ended {before} times while it read these results, so they are not read again; the files are kept"
            ));
        }
        let note = std::fs::create_dir_all(run)
            .and_then(|()| std::fs::write(&path, (before + 1).to_string()));
        // A disk that takes no note is no reason to give no figures.
        if let Err(error) = note {
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
