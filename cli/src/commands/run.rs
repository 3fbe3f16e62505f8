//! `atq run`.

use crate::Context;
use crate::args::Run;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn run(_context: &Context, _args: &Run) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`run` is not built in", ""))
}
