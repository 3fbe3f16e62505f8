//! `atq validate`.

use crate::Context;
use crate::args::Validate;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn validate(_context: &Context, _args: &Validate) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`validate` is not built in", ""))
}
