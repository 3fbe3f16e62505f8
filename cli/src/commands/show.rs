//! `atq show`.

use crate::Context;
use crate::args::Named;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn show(_context: &Context, _args: &Named) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`show` is not built in", ""))
}
