//! `atq upload`.

use crate::Context;
use crate::args::Upload;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn upload(_context: &Context, _args: &Upload) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`upload` is not built in", ""))
}
