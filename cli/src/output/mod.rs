//! Output files: each is written atomically, and files of other programs are never lost.
//!
//! - [`draft`]: a temporary file that is moved to its final path when it is complete;
//! - [`named`]: files given on the command line, checked before a test and written after it;
//! - [`owned`]: result directories, with a list of the files written by this program.

pub mod draft;
pub mod named;
pub mod owned;

use crate::error::CliError;
use std::fmt::Display;
use std::path::Path;

/// An error for a file that cannot be written.
pub fn write_error<E: Display>(path: &Path) -> impl FnOnce(E) -> CliError {
    move |error| {
        let message = format!("`{}` cannot be written: {error}", path.display());
        CliError::failed(message, "")
    }
}
