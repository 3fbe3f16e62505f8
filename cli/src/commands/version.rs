//! `atq version`.

use crate::Context;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn version(_context: &Context) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`version` is not built in", ""))
}
