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

/// What has become of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The Director has revoked it.
    Revoked,
    /// It had expired or was revoked before.
    Earlier,
    /// It is only removed here.
    Forgotten,
}

/// Whether the Director refuses the token because it has expired or was revoked. The text decides, because a proxy in
/// between refuses requests with the same status.
fn has_ended(error: &CliError) -> bool {
    let ended = ["the token has expired", "the token was revoked"];
    matches!(error, CliError::Denied { status: 401, message, .. }
        if ended.iter().any(|text| message.starts_with(text)))
}

/// Removes the stored token of a context. With `--revoke` the Director first revokes it; if that fails, it is kept,
/// unless it has expired or was revoked before.
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
    let end = match token {
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
                Ok(()) => End::Revoked,
                Err(error) if has_ended(&error) => End::Earlier,
                Err(error) => return Err(error),
            }
        }
        _ => End::Forgotten,
    };
    let removed = contexts.forget_token(&name);
    contexts.write(path)?;
    let line = match (removed, end) {
        (false, _) => format!("the context `{name}` has no token"),
        (true, End::Revoked) => {
            format!("the token of the context `{name}` was revoked and removed")
        }
        (true, End::Earlier) => format!(
            "the token of the context `{name}` was removed here; it had expired or was revoked before"
        ),
        (true, End::Forgotten) => format!(
            "the token of the context `{name}` was removed here; the Director accepts it until it expires or is revoked"
        ),
    };
    let document = LoggedOut {
        context: name,
        removed,
        revoked: end == End::Revoked,
    };
    out.show([line], &document);
    Ok(Exit::Pass)
}
