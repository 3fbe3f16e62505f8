//! `atq bundles`.

use crate::Context;
use crate::args::Bundles;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn bundles(_context: &Context, _args: &Bundles) -> Result<Exit, Trouble> {
    Err(Trouble::failed("`bundles` is not built in", ""))
}
