//! `atq report`.

use crate::Context;
use crate::args::Report;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn report(_context: &Context, _args: &Report) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`report` is not built in", ""))
}
