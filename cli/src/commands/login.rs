//! `atq login`.

use super::context::file;
use super::token::{exchanged, expiry, request_tokens};
use crate::args::{Connection, Login};
use crate::contexts::{StoredContext, check_name};
use crate::director::{Director, is_same_url, redacted_url};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::Out;
use crate::settings::{DEFAULT_URL, Settings, Sources};
use crate::socket;
use crate::table::api_name;
use crate::token::{self, ClientToken};
use atq_api_spec::token::{TokenInfo, TokenRole};
use serde::Serialize;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// The `--json` document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn<'a> {
    /// Name of the context.
    context: &'a str,
    /// URL of the Director.
    url: &'a str,
    /// Id of the token.
    token_id: &'a str,
    /// Name of the owner; null if the Director does not list the token.
    name: Option<&'a str>,
    /// What the token allows; null if the Director does not list the token.
    role: Option<TokenRole>,
    /// Time at which the token expires; null if never.
    expires: Option<&'a str>,
}

/// Reads a token, checks it by a request, and stores it as a context, which becomes the current one.
///
/// # Errors
/// When there is no token, the Director does not accept it or is unreachable, or the context cannot be stored.
pub async fn login(
    connection: &Connection,
    sources: &Sources,
    args: &Login,
    out: Out,
) -> Result<Exit, CliError> {
    let path = file(sources)?;
    if let Some(name) = &connection.context {
        check_name(name)?;
    }
    let settings = Settings::resolve(&target(connection, args)?, sources)?;
    let (known, ca) = (settings.context.clone(), settings.ca.clone());
    let without_token = Settings {
        token: None,
        ..settings
    };
    let url = without_token.url.clone();
    let director = without_token.director(out).await?;
    let own = own_token(&director, connection, sources, args, out).await?;
    // The URL of the command line may have a password for a proxy.
    let url = url.unwrap_or_else(|| director.url().to_owned());
    let director = director.with_token(Some(own.clone()));
    if director.is_unencrypted() {
        out.warning(token::unencrypted(director.url()));
    }
    let tokens = request_tokens(&director).await?;
    let id = own.token.id();
    let info = tokens.into_iter().find(|info| info.id == id.as_str());
    let name = match connection.context.clone().or(known) {
        Some(name) => name,
        None => derived_name(&url)?,
    };
    let mut contexts = sources.stored()?;
    if let Some(other) = contexts.find(&name)
        && connection.context.is_none()
        && !is_same_url(&other.url, &url)
    {
        return Err(CliError::usage(
            format!("the context `{name}` is that of another Director"),
            "choose a name with `--context NAME`",
        ));
    }
    contexts.put(StoredContext {
        name: name.clone(),
        url,
        token: Some(own.token.reveal()),
        ca: ca.map(absolute),
    });
    contexts.write(path)?;
    for variable in [token::VARIABLE, token::FILE_VARIABLE] {
        if sources.variable(variable).is_some() {
            out.warning(format_args!(
                "`{variable}` is set and overrides the stored token"
            ));
        }
    }
    let document = LoggedIn {
        context: &name,
        url: director.url(),
        token_id: id.as_str(),
        name: info.as_ref().map(|info| info.name.as_str()),
        role: info.as_ref().map(|info| info.role),
        expires: info.as_ref().and_then(|info| info.expires.as_deref()),
    };
    out.show([line(&document, info.as_ref())], &document);
    Ok(Exit::Pass)
}

/// The arguments that determine the Director: a URL does not need an existing context.
fn target(connection: &Connection, args: &Login) -> Result<Connection, CliError> {
    let url = match (&args.director, &connection.url) {
        (Some(url), Some(other)) if !is_same_url(url, other) => {
            return Err(CliError::usage("there are two URLs", "omit `--url`"));
        }
        (Some(url), _) | (None, Some(url)) => url.clone(),
        (None, None) => {
            return Ok(Connection {
                token_file: None,
                ..connection.clone()
            });
        }
    };
    // Reports an invalid URL before a token is requested.
    redacted_url(&url)?;
    Ok(Connection {
        url: Some(url),
        ca: connection.ca.clone(),
        token_file: None,
        context: None,
    })
}

/// The token to store: from `--token-file`, by the exchange of a JWT, else from the terminal or standard input.
async fn own_token(
    director: &Director,
    connection: &Connection,
    sources: &Sources,
    args: &Login,
    out: Out,
) -> Result<ClientToken, CliError> {
    if let Some(path) = &connection.token_file {
        return ClientToken::read(path);
    }
    let variable = sources.variable(token::JWT_VARIABLE);
    if args.jwt_file.is_some() || variable.is_some() {
        let jwt = token::jwt(args.jwt_file.as_deref(), variable)?;
        let created = exchanged(director, &jwt, out).await?;
        out.progress("exchanged the JWT for a token");
        return ClientToken::parse(&created.token, "the response of the Director");
    }
    let prompt = format!("Token for {}: ", director.url());
    ClientToken::ask(prompt).await
}

/// Host and port of the URL, or `local`.
fn derived_name(url: &str) -> Result<String, CliError> {
    let shown = redacted_url(url)?;
    if socket::is_url(url) || shown == DEFAULT_URL {
        return Ok("local".to_owned());
    }
    let (_, rest) = shown.split_once("://").unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    Ok(authority.replace(['[', ']'], ""))
}

/// The path of the certificates, valid in every working directory.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or_else(|_: std::io::Error| Path::new(&path).to_owned())
}

fn line(document: &LoggedIn<'_>, info: Option<&TokenInfo>) -> String {
    let (context, url) = (document.context, document.url);
    let Some(info) = info else {
        return format!(
            "the token is stored as context `{context}`; the Director at `{url}` does not list it: is its \
             authentication off?"
        );
    };
    let expiry = expiry(info, OffsetDateTime::now_utc());
    format!(
        "logged in at `{url}` as `{}` (role {}, expires: {expiry}); context `{context}` is the current one",
        info.name,
        api_name(&info.role)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_context_is_named_after_its_director() {
        for (url, name) in [
            (
                "https://me:hunter2@director.example.com:8443/atq",
                "director.example.com:8443",
            ),
            ("http://[::1]:81/api", "::1:81"),
            ("unix:///run/atq/atq.sock", "local"),
            ("http://127.0.0.1:8080", "local"),
        ] {
            let derived = derived_name(url).unwrap();
            assert_eq!(derived, name);
            check_name(&derived).unwrap();
        }
    }

    #[test]
    fn a_url_as_argument_needs_no_existing_context() {
        let connection = Connection {
            context: Some("new".to_owned()),
            ..Connection::default()
        };
        let args = Login {
            director: Some("https://a".to_owned()),
            ..Login::default()
        };
        let target = target(&connection, &args).unwrap();
        assert_eq!(
            (target.url.as_deref(), target.context),
            (Some("https://a"), None)
        );
    }
}
