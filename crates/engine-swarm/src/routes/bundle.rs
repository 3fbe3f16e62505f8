//! Bundles for nodes.

use super::refusal::Refusal;
use super::{RouteState, token, unauthorized};
use atq_task::spec::shorten;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio_util::io::ReaderStream;

/// Size of a read from the disk in bytes, for each node that fetches.
const CHUNK: usize = 256 << 10;

/// The zip of a bundle, as it was uploaded.
pub(super) async fn fetch(
    State(state): State<RouteState>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Path((run, id)) = path.map_err(unauthorized)?;
    let authorized = state
        .inbound
        .node_auth
        .authorize_fetch(&run, token(&headers)?, &id);
    authorized.map_err(|refusal| Refusal::of_bundle(refusal, shorten(&id)))?;
    let found = state.bundles.zip(&id).await;
    let found = found.map_err(|reason| Refusal::Disk {
        bundle: shorten(&id),
        reason,
    })?;
    let (zip, bytes) = found.ok_or_else(|| Refusal::NoBundle(shorten(&id)))?;
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(zip), CHUNK);
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (CONTENT_LENGTH, bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}
