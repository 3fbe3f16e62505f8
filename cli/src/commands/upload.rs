//! `atq upload`.

use crate::args::Upload;
use crate::bundle::upload_details;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// Uploads a bundle and prints its id.
///
/// # Errors
/// When it cannot be read or packed, or the Director rejects it.
pub async fn upload(context: &Context, args: &Upload) -> Result<Exit, CliError> {
    let uploaded = upload_details(context, &args.bundle).await?;
    context.out.line(&uploaded.id);
    context.out.result(&uploaded);
    Ok(Exit::Pass)
}
