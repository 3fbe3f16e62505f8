//! Tokens of clients.

use super::access::{ChangeOf, needs_tokens};
use super::app::App;
use super::detached::to_completion;
use super::error::{ApiError, RequestError};
use super::query::Query;
use super::{body, json};
use crate::tokens::{NewToken, wire};
use atq_access::{Principal, Role, TokenId, TokenRecord};
use atq_api_spec::error::Problem;
use atq_api_spec::token::{TokenCreate, TokenCreated, TokenList};
use atq_task::spec::shorten;
use axum::extract::{Path, Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

/// Maximum size of a request for a token in bytes.
const MAX_REQUEST: usize = 4 << 10;

/// Creates a token.
///
/// The response is the only one that contains the token: the Director stores a digest.
#[utoipa::path(
    post,
    path = "/token",
    operation_id = "createToken",
    tag = "token",
    request_body(content((TokenCreate = "application/json", example = json!({"name": "jenkins", "role": "runner", "expiresIn": 7776000})))),
    responses(
        (status = 201, description = "The token.", body = TokenCreated),
        (status = 400, description = "The request is not JSON, or a field is invalid.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`auth_off`: authentication is off, so that only clients of the Director's Unix sockets manage tokens; or `too_many_tokens`.", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "`disk_full`: not enough free disk space.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn create(
    State(app): State<App>,
    Extension(client): Extension<Principal>,
    request: Request,
) -> Result<Response, ApiError> {
    needs_tokens(&client)?;
    let (parts, content) = request.into_parts();
    Query::read(&parts.uri, &[])?;
    body::check_json(&parts.headers)?;
    let bytes = body::read(&parts.headers, content, MAX_REQUEST).await?;
    let new = read(&bytes)?;
    if new.role > client.role {
        return Err(RequestError::Forbidden {
            name: client.name,
            role: client.role,
            needed: new.role,
        }
        .into());
    }
    let tokens = app.access.tokens().clone();
    let (token, record) = to_completion(async move { tokens.create(new).await }).await??;
    tracing::info!(token = %record.id, name = %record.name, role = %record.role, by = %client.name, "token created");
    let created = wire::created(&token, record);
    let change = Extension(ChangeOf(created.id.clone()));
    let no_store = [(CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, change, no_store, Json(created)).into_response())
}

fn read(bytes: &[u8]) -> Result<NewToken, RequestError> {
    let value = json::parse(bytes).map_err(RequestError::BadJson)?;
    let wanted = serde_path_to_error::deserialize(value).map_err(|error| describe(&error));
    wanted
        .and_then(wire::requested)
        .map_err(RequestError::BadToken)
}

/// The field, what was found, and what is expected.
fn describe(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let inner = error.inner().to_string();
    let inner = inner.replace("expected u64", "expected a whole number of seconds");
    match error.path().to_string().as_str() {
        "." => inner,
        field => format!("`{}`: {inner}", shorten(field)),
    }
}

/// Lists tokens without their secrets, oldest first.
///
/// An admin gets all tokens, other clients their own: those with the same name, and at most the same role.
#[utoipa::path(
    get,
    path = "/token",
    operation_id = "listTokens",
    tag = "token",
    responses(
        (status = 200, description = "The tokens. Expired and revoked ones are listed for 30 days, short-lived ones for as long as they were valid.", body = TokenList)
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(client): Extension<Principal>,
    uri: Uri,
) -> Result<Json<TokenList>, ApiError> {
    Query::read(&uri, &[])?;
    let all = app.access.tokens().list().into_iter();
    let visible = all.filter(|record| may_manage(&client, record));
    let tokens = visible.map(wire::info).collect();
    Ok(Json(TokenList { tokens }))
}

/// Revokes a token at once.
///
/// An admin may revoke every token, other clients their own. Revoking a token again has no effect.
#[utoipa::path(
    delete,
    path = "/token/{id}",
    operation_id = "revokeToken",
    tag = "token",
    params(("id" = String, Path, description = "Id of the token.", example = "01020304ff")),
    responses(
        (status = 204, description = "The token is not accepted any more."),
        (status = 404, description = "There is no such token, or it belongs to another client.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`auth_off`: authentication is off, so that only clients of the Director's Unix sockets manage tokens.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn revoke(
    State(app): State<App>,
    Extension(client): Extension<Principal>,
    Path(text): Path<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    needs_tokens(&client)?;
    Query::read(&uri, &[])?;
    let unknown = || RequestError::NoToken(shorten(&text));
    let id = TokenId::parse(&text).map_err(|_| unknown())?;
    let tokens = app.access.tokens().clone();
    let record = tokens.get(&id).filter(|record| may_manage(&client, record));
    record.ok_or_else(unknown)?;
    let revoked = to_completion(async move { tokens.revoke(&id).await }).await??;
    let record = revoked.ok_or_else(unknown)?;
    tracing::info!(token = %record.id, name = %record.name, by = %client.name, "token revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a client may list and revoke a token.
fn may_manage(client: &Principal, record: &TokenRecord) -> bool {
    let is_own = client.name == record.name && record.role <= client.role;
    client.role == Role::Admin || is_own
}
