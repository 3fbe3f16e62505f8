//! `atq logout`.

use super::context::file;
use super::token::revoked;
use crate::args::{Connection, Logout};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::Out;
use crate::settings::{Settings, Sources};
use serde::Serialize;

/// The `--json` document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedOut {
    /// Name of the context.
    context: String,
    /// Whether a token was removed.
    removed: bool,
    /// Whether the token was revoked.
    revoked: bool,
}

/// Removes the stored token of a context. With `--revoke` the Director first revokes it; if that fails, it is kept,
/// unless the Director does not accept it any more.
///
/// # Errors
/// When there is no context, the Director does not revoke the token, or the file cannot be written.
pub async fn logout(
    connection: &Connection,
    sources: &Sources,
    args: &Logout,
    out: Out,
) -> Result<Exit, CliError> {
    let path = file(sources)?;
    let mut contexts = sources.stored()?;
    let given = sources.context_name(connection);
    let context = match (&connection.url, given.or_else(|| contexts.current.clone())) {
        (Some(url), _) => contexts.of_url(url).ok_or_else(|| {
            CliError::usage(
                "no context has this URL",
                "`atq context list` lists the contexts",
            )
        })?,
        (None, Some(name)) => contexts.named(&name)?,
        (None, None) => {
            return Err(CliError::usage(
                "there is no current context",
                "`atq context list` lists the contexts; name one with `--context NAME`",
            ));
        }
    };
    let (name, token) = (context.name.clone(), context.client_token()?);
    let mut was_invalid = false;
    let is_revoked = match token {
        Some(token) if args.revoke => {
            let of_context = Connection {
                url: None,
                context: Some(name.clone()),
                token_file: None,
                ca: connection.ca.clone(),
            };
            let settings = Settings {
                token: Some(token.clone()),
                ..Settings::resolve(&of_context, sources)?
            };
            let director = settings.director(out).await?;
            match revoked(&director, token.token.id().as_str()).await {
                Ok(()) => true,
                Err(CliError::Denied { status: 401, .. }) => {
                    was_invalid = true;
                    false
                }
                Err(error) => return Err(error),
            }
        }
        _ => false,
    };
    let removed = contexts.forget_token(&name);
    contexts.write(path)?;
    let line = match (removed, is_revoked) {
        (false, _) => format!("the context `{name}` has no token"),
        (true, true) => format!("the token of the context `{name}` was revoked and removed"),
        (true, false) if was_invalid => format!(
            "the token of the context `{name}` was removed here; the Director does not accept it any more"
        ),
        (true, false) => format!(
            "the token of the context `{name}` was removed here; the Director accepts it until it expires or is revoked"
        ),
    };
    let document = LoggedOut {
        context: name,
        removed,
        revoked: is_revoked,
    };
    out.show([line], &document);
    Ok(Exit::Pass)
}
