//! `atq token`.

use crate::args::{Role, Token as Args, TokenAction};
use crate::context::Context;
use crate::director::Director;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::Out;
use crate::path::segment;
use crate::settings::Sources;
use crate::table::{NO_VALUE, age, api_name, span, table};
use crate::token::{JWT_VARIABLE, jwt};
use atq_access::{Token, TokenId};
use atq_api_spec::token::{
    TokenCreate, TokenCreated, TokenExchange, TokenInfo, TokenList, TokenRole,
};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Timeout of a revocation.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates, lists, revokes and exchanges tokens.
///
/// # Errors
/// When an argument is invalid, or the Director rejects the request or is unreachable.
pub async fn token(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let director = &context.director;
    match &args.action {
        TokenAction::Create {
            name,
            role,
            expires,
        } => {
            let wanted = TokenCreate {
                name: name.clone(),
                role: wire_role(*role),
                expires_in: Some(expires.as_secs()),
            };
            let request = director.request(Method::POST, "token")?.json(&wanted);
            // Not repeated: the first token would stay, unknown to everybody.
            let created: TokenCreated = director.read(director.send(request).await?).await?;
            show_secret(context, &created);
        }
        TokenAction::List => {
            let tokens = request_tokens(director).await?;
            match tokens.is_empty() {
                true => context.out.progress("no tokens"),
                false => lines(&tokens, OffsetDateTime::now_utc())
                    .iter()
                    .for_each(|line| context.out.line(line)),
            }
            context.out.result(&TokenList { tokens });
        }
        TokenAction::Revoke { id } => {
            check_id(id)?;
            revoked(director, id).await?;
            context.out.show([id], &json!({"id": id, "revoked": true}));
        }
        TokenAction::Exchange { jwt_file } => {
            let variable = Sources::of_process().variable(JWT_VARIABLE);
            let jwt = jwt(jwt_file.as_deref(), variable)?;
            show_secret(context, &exchanged(director, &jwt, context.out).await?);
        }
    }
    Ok(Exit::Pass)
}

/// The tokens that the caller may see.
///
/// # Errors
/// When the Director rejects the request, or is unreachable.
pub async fn request_tokens(director: &Director) -> Result<Vec<TokenInfo>, CliError> {
    let list: TokenList = director.get("token").await?;
    Ok(list.tokens)
}

/// Exchanges a JWT. A token that is configured is not sent: it may be the expired one that the exchange replaces. The
/// request is not repeated, because a Director may accept a JWT only once.
///
/// # Errors
/// When the Director does not accept the JWT, or is unreachable.
pub async fn exchanged(
    director: &Director,
    jwt: &TokenExchange,
    out: Out,
) -> Result<TokenCreated, CliError> {
    if director.is_unencrypted() {
        let url = director.url();
        out.warning(format_args!(
            "the JWT is sent to `{url}` without encryption: use `https`"
        ));
    }
    let director = director.clone().with_token(None);
    let request = director.request(Method::POST, "token/exchange")?.json(jwt);
    match director.send(request).await {
        Ok(response) => director.read(response).await,
        Err(CliError::Denied {
            status, message, ..
        }) => Err(CliError::Denied {
            status,
            message,
            hint: "the JWT must be valid, and its issuer, audience and claims must be those that the configuration of \
                   the Director names"
                .to_owned(),
        }),
        Err(error) => Err(error),
    }
}

/// Revokes a token.
///
/// # Errors
/// When there is no such token, or the Director rejects the request or is unreachable.
pub async fn revoked(director: &Director, id: &str) -> Result<(), CliError> {
    let path = format!("token/{}", segment(id));
    director.remove(&path, REVOKE_TIMEOUT, None).await
}

/// Prints only the token to standard output, so that a script can capture it.
fn show_secret(context: &Context, created: &TokenCreated) {
    let expires = match &created.expires {
        Some(at) => format!("expires at {at}"),
        None => "never expires".to_owned(),
    };
    if !context.out.json {
        context.out.progress(format_args!(
            "token `{}` of `{}`, role {}, {expires}; it cannot be shown again",
            created.id,
            created.name,
            api_name(&created.role)
        ));
    }
    context.out.show([&created.token], created);
}

fn wire_role(role: Role) -> TokenRole {
    match role {
        Role::Viewer => TokenRole::Viewer,
        Role::Runner => TokenRole::Runner,
        Role::Admin => TokenRole::Admin,
    }
}

fn check_id(id: &str) -> Result<(), CliError> {
    if let Ok(token) = Token::parse(id) {
        // The argument itself has the secret and is not shown.
        return Err(CliError::usage(
            "the argument is a whole token, which other users can see in the list of processes",
            format!("only the id is needed: `atq token revoke {}`", token.id()),
        ));
    }
    TokenId::parse(id).map(drop).map_err(|_| {
        CliError::usage(
            "the argument is not the id of a token",
            "expected ten hexadecimal digits, as `atq token list` shows them",
        )
    })
}

/// The date of the expiry in UTC, `never`, `expired` or `revoked`.
pub fn expiry(info: &TokenInfo, now: OffsetDateTime) -> String {
    match (&info.revoked, &info.expires) {
        (Some(_), _) => "revoked".to_owned(),
        (None, None) => "never".to_owned(),
        (None, Some(at)) => match OffsetDateTime::parse(at, &Rfc3339) {
            Ok(time) if time <= now => "expired".to_owned(),
            Ok(time) if time - now < time::Duration::DAY => format!("in {}", span(time - now)),
            Ok(time) => time.date().to_string(),
            Err(_) => at.clone(),
        },
    }
}

fn lines(tokens: &[TokenInfo], now: OffsetDateTime) -> Vec<String> {
    let rows: Vec<_> = tokens
        .iter()
        .map(|info| {
            let used = info.last_used.as_deref();
            [
                info.id.clone(),
                info.name.clone(),
                api_name(&info.role),
                age(&info.created, now),
                used.map_or_else(|| NO_VALUE.to_owned(), |at| age(at, now)),
                expiry(info, now),
            ]
        })
        .collect();
    table(["ID", "NAME", "ROLE", "AGE", "USED", "EXPIRES"], &rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn info(id: &str, expires: Option<&str>, revoked: bool) -> TokenInfo {
        TokenInfo {
            id: id.to_owned(),
            name: "ci".to_owned(),
            role: TokenRole::Runner,
            created: "2026-03-04T12:00:00Z".to_owned(),
            expires: expires.map(str::to_owned),
            last_used: revoked.then(|| "2026-03-05T11:00:00Z".to_owned()),
            revoked: revoked.then(|| "2026-03-05T12:00:00Z".to_owned()),
        }
    }

    #[test]
    fn tokens_are_a_table() {
        let now = OffsetDateTime::parse("2026-03-05T14:00:00Z", &Rfc3339).unwrap();
        let tokens = [
            info("01020304aa", Some("2026-06-02T12:00:00Z"), false),
            info("01020304bb", None, false),
            info("01020304cc", Some("2026-03-05T14:00:00Z"), false),
            info("01020304dd", Some("2026-06-02T12:00:00Z"), true),
            info("01020304ee", Some("2026-03-05T14:40:00Z"), false),
        ];
        insta::assert_snapshot!(lines(&tokens, now).join("\n"), @"
        ID          NAME  ROLE    AGE   USED  EXPIRES
        01020304aa  ci    runner  26 h  -     2026-06-02
        01020304bb  ci    runner  26 h  -     never
        01020304cc  ci    runner  26 h  -     expired
        01020304dd  ci    runner  26 h  3 h   revoked
        01020304ee  ci    runner  26 h  -     in 40 min
        ");
    }

    #[test]
    fn a_whole_token_is_no_id_and_is_not_shown() {
        let whole = crate::token::tests::token(7).reveal();
        let error = check_id(&whole).unwrap_err();
        assert!(!format!("{error:?}").contains(&whole), "{error}");
        assert!(error.hint().contains("0102030407"), "{}", error.hint());
        check_id("0102030407").unwrap();
        check_id("hunter2").unwrap_err();
    }
}
