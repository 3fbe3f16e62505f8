//! Routes, the token, status codes and bodies.

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
use crate::options::Options;
use crate::probe::{self, Order};
use crate::query::Question;
use crate::wait;

/// Longest body of `/probe`: room for 4,000 addresses, more than one DNS message holds with the workers' short name.
const LONGEST_BODY: usize = 128 * 1024;

pub(crate) fn router(options: Options) -> Router {
    let options = Arc::new(options);
    Router::new()
        .route("/api/{hostname}", get(addresses))
        .route("/api/", get(no_name))
        .route("/probe", post(tried))
        .route("/healthz", get(|| async { "ok" }))
        .fallback(|uri: Uri| async move { Refusal::UnknownPath(uri.path().to_owned()) })
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(from_fn_with_state(options.clone(), guard))
        .with_state(options)
}

/// Lets requests to `/api` and `/probe` pass that carry the token, and all others.
async fn guard(
    State(options): State<Arc<Options>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let path = request.uri().path();
    let guarded = ["/api", "/probe"].into_iter().any(|room| {
        path.strip_prefix(room)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    match &options.token {
        Some(token) if guarded && !carries(request.headers(), token) => Err(Refusal::Unauthorized),
        _ => Ok(next.run(request).await),
    }
}

/// Compares in constant time, so that response times do not give the token away byte by byte.
fn carries(headers: &HeaderMap, token: &str) -> bool {
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
    let question = Question::parse(&hostname, &pairs)?;
    let found = wait::answer(&options.name_servers, &question).await;
    Ok(body(&found, wants_csv(&headers)))
}

async fn no_name() -> Result<(), Refusal> {
    Question::parse("", &[]).map(|_| ())
}

async fn tried(body: Result<Bytes, BytesRejection>) -> Result<Json<Vec<ProbeOutcome>>, Refusal> {
    let body = body.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge(LONGEST_BODY),
        _ => Refusal::BadInput(format!("body: {}", e.body_text())),
    })?;
    Ok(Json(probe::answer(&Order::parse(&body)?).await))
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::MethodNotAllowed {
        seen: method.to_string(),
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

/// Whether `text/csv` stands in `Accept`, and before `application/json` if both do.
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
