//! Files on this machine's disk: each is there whole or not at all, and nobody else's file is lost.
//!
//! - [`draft`]: a file that is being written beside its place;
//! - [`named`]: files that the command line names, tried before a test and written after it;
//! - [`owned`]: directories of results, with the list of the files in them that this program wrote.

pub mod draft;
pub mod named;
pub mod owned;

use crate::trouble::Trouble;
use std::fmt::Display;
use std::path::Path;

/// The file cannot be written.
pub fn unwritten<E: Display>(path: &Path) -> impl FnOnce(E) -> Trouble {
    move |error| {
        let message = format!("`{}` cannot be written: {error}", path.display());
        Trouble::failed(message, "")
    }
}
