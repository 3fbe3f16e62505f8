//! `atq rm`.

use crate::Context;
use crate::args::Rm;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn rm(_context: &Context, _args: &Rm) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`rm` is not built in", ""))
}
