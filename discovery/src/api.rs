//! Routes, authentication, status codes and bodies.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use atq_node_protocol::probe::ProbeOutcome;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use subtle::ConstantTimeEq;

use crate::error::Refusal;
use crate::long_poll;
use crate::options::Options;
use crate::probe::{self, Order};
use crate::query::AddressQuery;

/// Maximum size of the body of `/probe`: enough for 4,000 addresses, about as many as fit in a DNS message.
const MAX_BODY: usize = 128 * 1024;

pub(crate) fn router(options: Options) -> Router {
    let options = Arc::new(options);
    Router::new()
        .route("/api/{hostname}", get(addresses))
        .route("/api/", get(missing_hostname))
        .route("/probe", post(probe_addresses))
        .route("/healthz", get(|| async { "ok" }))
        .fallback(|uri: Uri| async move { Refusal::UnknownPath(uri.path().to_owned()) })
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(options.clone(), require_token))
        .with_state(options)
}

/// Requires the token for `/api` and `/probe`; other paths are open.
async fn require_token(
    State(options): State<Arc<Options>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let path = request.uri().path();
    let is_protected = ["/api", "/probe"].into_iter().any(|prefix| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    match &options.token {
        Some(token) if is_protected && !has_token(request.headers(), token) => {
            Err(Refusal::Unauthorized)
        }
        _ => Ok(next.run(request).await),
    }
}

/// Compares in constant time, so that response times do not reveal the token byte by byte.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let Some(value) = headers.get(AUTHORIZATION).map(|v| v.as_bytes()) else {
        return false;
    };
    match value.split_at_checked("Bearer ".len()) {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"Bearer ") => {
            given.trim_ascii().ct_eq(token.as_bytes()).into()
        }
        _ => false,
    }
}

async fn addresses(
    State(options): State<Arc<Options>>,
    hostname: Result<Path<String>, PathRejection>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Path(hostname) =
        hostname.map_err(|e| Refusal::BadInput(format!("`hostname`: {}", e.body_text())))?;
    let Query(pairs) =
        query.map_err(|e| Refusal::BadInput(format!("query string: {}", e.body_text())))?;
    let query = AddressQuery::parse(&hostname, &pairs)?;
    let found = long_poll::answer(&options.name_servers, &query).await;
    Ok(body(&found, wants_csv(&headers)))
}

async fn missing_hostname() -> Result<(), Refusal> {
    AddressQuery::parse("", &[]).map(|_| ())
}

async fn probe_addresses(
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<ProbeOutcome>>, Refusal> {
    let body = body.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge(MAX_BODY),
        _ => Refusal::BadInput(format!("body: {}", e.body_text())),
    })?;
    Ok(Json(probe::answer(&Order::parse(&body)?).await))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Refusal {
    Refusal::MethodNotAllowed {
        method: method.to_string(),
        expected: if uri.path() == "/probe" {
            "POST"
        } else {
            "GET"
        },
    }
}

fn body(addresses: &BTreeSet<Ipv4Addr>, csv: bool) -> Response {
    if addresses.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else if csv {
        let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        ([(CONTENT_TYPE, "text/csv")], list.join(",")).into_response()
    } else {
        Json(addresses).into_response()
    }
}

/// Whether `Accept` has `text/csv`, and before `application/json` if it has both.
fn wants_csv(headers: &HeaderMap) -> bool {
    let values = headers
        .get_all(ACCEPT)
        .into_iter()
        .filter_map(|v| v.to_str().ok());
    let mut types = values.flat_map(|v| v.split(','));
    let first = types.find_map(|entry| {
        let name = entry.split(';').next().unwrap_or_default().trim();
        match name.to_ascii_lowercase().as_str() {
            "text/csv" => Some(true),
            "application/json" => Some(false),
            _ => None,
        }
    });
    first.unwrap_or(false)
}
