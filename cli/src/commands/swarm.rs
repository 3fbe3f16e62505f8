//! `atq swarm`.

use crate::Context;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn swarm(_context: &Context) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`swarm` is not built in", ""))
}
