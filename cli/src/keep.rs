//! What a run has left, on this machine's disk: result files, report, logs, manifest.

use crate::Context;
use crate::trouble::Trouble;
use std::path::Path;

/// Puts everything that is kept of the task into `dir`, which is made if it is missing. What the task does
/// not have is left out, and said.
///
/// # Errors
/// When the Director cannot be reached, or the directory not be written.
pub async fn keep(_context: &Context, name: &str, dir: &Path) -> Result<(), Trouble> {
    let message = format!("`{name}` to `{}`: not built in", dir.display());
    Err(Trouble::failed(message, ""))
}
