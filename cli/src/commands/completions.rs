//! `atq completions`.

use crate::Context;
use crate::args::Completions;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn completions(_context: &Context, _args: &Completions) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`completions` is not built in", ""))
}
