//! `atq upload`.

use crate::args::Upload;
use crate::bundle;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// Uploads a bundle and prints its id.
///
/// # Errors
/// When it cannot be read or packed, or the Director rejects it.
pub async fn upload(context: &Context, args: &Upload) -> Result<Exit, CliError> {
    let uploaded = bundle::upload(context, &args.bundle).await?;
    context.out.show([&uploaded.id], &uploaded);
    Ok(Exit::Pass)
}
