//! Bundles for nodes.

use super::refusal::Refusal;
use super::{RouteState, node, token};
use crate::node_auth::NodeAuth;
use atq_task::spec::shorten;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use std::io;
use std::sync::Arc;
use tokio_util::io::ReaderStream;

/// Size of a read from the disk in bytes, for each node that fetches.
const CHUNK: usize = 256 << 10;

/// The zip of a bundle, as it was uploaded.
pub(super) async fn fetch(
    State(state): State<RouteState>,
    Path((run, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (node, token) = (node(&headers), token(&headers)?);
    let auth = Arc::clone(&state.inbound.node_auth);
    let authorized = auth.authorize_fetch(&run, token, &node, &id);
    authorized.map_err(|refusal| Refusal::of_bundle(refusal, shorten(&id)))?;
    let found = state.bundles.zip(&id).await;
    let found = found.map_err(|reason| Refusal::Disk {
        bundle: shorten(&id),
        reason,
    })?;
    let (zip, bytes) = found.ok_or_else(|| Refusal::NoBundle(shorten(&id)))?;
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(zip), CHUNK);
    let receipt = Receipt {
        auth,
        run,
        node,
        bundle: id,
        left: bytes,
    };
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (CONTENT_LENGTH, bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(with_receipt(chunks, receipt))).into_response())
}

/// Records that a node has received the whole bundle.
struct Receipt {
    auth: Arc<NodeAuth>,
    run: String,
    node: String,
    bundle: String,
    left: u64,
}

/// Passes the chunks on and records the receipt with the last byte.
fn with_receipt<S>(chunks: S, mut receipt: Receipt) -> impl Stream<Item = io::Result<Bytes>>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    chunks.inspect(move |chunk| {
        let bytes = chunk.as_ref().map_or(0, Bytes::len) as u64;
        let before = receipt.left;
        receipt.left = before.saturating_sub(bytes);
        if before > 0 && receipt.left == 0 {
            let Receipt {
                run, node, bundle, ..
            } = &receipt;
            receipt.auth.record_served(run, node, bundle);
        }
    })
}
