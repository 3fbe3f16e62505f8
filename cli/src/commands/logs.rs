//! `atq logs`.

use crate::Context;
use crate::args::Logs;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn logs(_context: &Context, _args: &Logs) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`logs` is not built in", ""))
}
