//! `atq init`.

use crate::Context;
use crate::args::Init;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn init(_context: &Context, _args: &Init) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`init` is not built in", ""))
}
