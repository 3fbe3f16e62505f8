//! `atq upload`.

use crate::args::Upload;
use crate::bundle::carry;
use crate::context::Context;
use crate::exit::Exit;
use crate::trouble::Trouble;

/// Prints the bundle's id.
///
/// # Errors
/// When it cannot be read or packed, or the Director does not take it.
pub async fn upload(context: &Context, args: &Upload) -> Result<Exit, Trouble> {
    let brought = carry(context, &args.bundle).await?;
    context.out.line(&brought.id);
    context.out.result(&brought);
    Ok(Exit::Pass)
}
