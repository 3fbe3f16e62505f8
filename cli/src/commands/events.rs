//! `atq events`.

use crate::Context;
use crate::args::Events;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn events(_context: &Context, _args: &Events) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`events` is not built in", ""))
}
