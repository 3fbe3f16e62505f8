//! Bundles: a directory or a zip on its way to the Director.

use crate::Context;
use crate::trouble::Trouble;
use std::path::Path;

/// Brings `path`, a directory or a zip, to the Director, unless it has that content. Gives the bundle's id.
///
/// # Errors
/// When it cannot be read or packed, or the Director does not take it.
pub async fn bring(_context: &Context, path: &Path) -> Result<String, Trouble> {
    Err(Trouble::failed(
        format!("`{}`: not built in", path.display()),
        "",
    ))
}
