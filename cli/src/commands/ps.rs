//! `atq ps`.

use crate::Context;
use crate::args::Ps;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn ps(_context: &Context, _args: &Ps) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`ps` is not built in", ""))
}
