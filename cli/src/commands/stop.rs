//! `atq stop`.

use crate::Context;
use crate::args::Stop;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn stop(_context: &Context, _args: &Stop) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`stop` is not built in", ""))
}
