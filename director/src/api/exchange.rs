//! The exchange of CI jobs' JWTs for tokens.

use super::access::{Routine, Summary};
use super::app::App;
use super::detached::to_completion;
use super::error::{ApiError, RequestError, error_code};
use super::query::Query;
use super::{Peer, body, json};
use crate::config::Auth;
use crate::exchange::Exchange;
use crate::tokens::{NewToken, expiry, now, wire};
use atq_access::{Principal, Token, TokenRecord, Via};
use atq_api_spec::error::Problem;
use atq_api_spec::token::{TokenCreated, TokenExchange};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Maximum size of the body: a JWT of the maximum size, and some space.
const MAX_BODY: usize = 2 * atq_access::exchange::MAX_JWT_BYTES;

/// Exchanges the JWT of a CI job for a token.
///
/// The JWT must match a rule in `tokenExchange` of the configuration: its issuer, its audience, and further claims such as
/// the project. The token is valid for the time that the rule sets, by default one hour. A JWT can be exchanged several
/// times until it expires, but only from the address of the first exchange.
#[utoipa::path(
    post,
    path = "/token/exchange",
    operation_id = "exchangeToken",
    tag = "token",
    request_body(
        content = TokenExchange,
        description = "The JWT, at most 16 KiB.",
        example = json!({"jwt": "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2dpdGxhYi5leGFtcGxlIn0.c2lnbmF0dXJl"})
    ),
    responses(
        (status = 201, description = "The token. Its secret is not shown again.", body = TokenCreated),
        (status = 400, description = "The body is not JSON with the text `jwt`.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`exchange_refused`: no rule accepts the JWT, or it was used from another address.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`no_token_exchange`: authentication is off, or no rule is configured.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`too_many_tokens`: the Director has too many tokens.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 32 KiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The content type is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_attempts`: too many failed attempts from this address. `Retry-After` contains the seconds to wait.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`keys_unavailable`: the keys of the issuer cannot be read. `busy`: too many jobs exchange tokens.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn exchange(
    State(app): State<App>,
    Extension(rules): Extension<Arc<Exchange>>,
    client: Option<Extension<Principal>>,
    request: Request,
) -> Response {
    let summary = Summary::of(&request);
    let created = match create(&app, &rules, request).await {
        Ok(record) => record,
        Err(error) => {
            let response = error.into_response();
            let status = response.status();
            let is_refusal = matches!(
                status,
                StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
            );
            // `guard` notes refusals of clients that it knows.
            if is_refusal && client.is_none() {
                let code = error_code(&response);
                app.access.note_refusal(&summary, None, status, code);
            }
            return response;
        }
    };
    let (token, record) = created;
    tracing::info!(token = %record.id, name = %record.name, role = %record.role, "token created for a CI job");
    let job = Principal {
        name: record.name.clone(),
        role: record.role,
        via: Via::Token(record.id.clone()),
    };
    app.access.note_change(
        &summary,
        &job,
        StatusCode::CREATED,
        Some(record.id.to_string()),
    );
    let created = wire::created(&token, record);
    let no_store = [(CACHE_CONTROL, "no-store")];
    // The job is in the audit log, not the client that `guard` knows.
    let noted = Extension(Routine);
    (StatusCode::CREATED, noted, no_store, Json(created)).into_response()
}

async fn create(
    app: &App,
    rules: &Exchange,
    request: Request,
) -> Result<(Token, TokenRecord), ApiError> {
    let unavailable = match app.config.auth {
        Auth::Off => {
            Some("authentication is off (`auth` in the configuration), so no token is needed")
        }
        Auth::Tokens if rules.is_empty() => {
            Some("the configuration has no rule for it (`tokenExchange`)")
        }
        Auth::Tokens => None,
    };
    if let Some(reason) = unavailable {
        return Err(RequestError::NoExchange(reason).into());
    }
    let from = address(request.extensions().get().copied());
    let (parts, content) = request.into_parts();
    Query::read(&parts.uri, &[])?;
    body::check_json(&parts.headers)?;
    let bytes = body::read(&parts.headers, content, MAX_BODY).await?;
    // The parser's own error could contain the JWT.
    let malformed = || RequestError::BadJson("expected an object with the text `jwt`".to_owned());
    let value = json::parse(&bytes).map_err(|_| malformed())?;
    let TokenExchange { jwt } = serde_json::from_value(value).map_err(|_| malformed())?;
    let identity = rules.identify(&jwt, from, now()).await?;
    let new = NewToken {
        name: identity.name,
        role: identity.role,
        expires: expiry(identity.expires_in.as_secs()),
    };
    let tokens = app.access.tokens().clone();
    Ok(to_completion(async move { tokens.create_for_job(new).await }).await??)
}

/// The address of the client; `None` for a Unix socket.
fn address(peer: Option<Peer>) -> Option<IpAddr> {
    match peer {
        Some(Peer::Tcp(address)) => Some(address.ip()),
        Some(Peer::Socket { .. } | Peer::Control { .. }) => None,
        None => Some(Ipv4Addr::LOCALHOST.into()),
    }
}
