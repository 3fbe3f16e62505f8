//! `atq results`.

use crate::Context;
use crate::args::Results;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn results(_context: &Context, _args: &Results) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`results` is not built in", ""))
}
