//! Bundles for nodes.

use super::refusal::Refusal;
use super::{Door, node, token};
use crate::inbound::Inbound;
use atq_task::spec::shorten;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use std::io;
use tokio_util::io::ReaderStream;

/// Bytes of one read from the disk, for each node that fetches.
const PIECE: usize = 256 << 10;

/// The zip of a bundle, as it was uploaded.
pub(super) async fn fetch(
    State(door): State<Door>,
    Path((run, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (node, token) = (node(&headers), token(&headers)?);
    let may = door.inbound.may_fetch(&run, token, &node, &id);
    may.map_err(|refusal| Refusal::of_bundle(refusal, shorten(&id)))?;
    let found = door.bundles.zip(&id).await;
    let found = found.map_err(|reason| Refusal::Disk {
        bundle: shorten(&id),
        reason,
    })?;
    let (zip, bytes) = found.ok_or_else(|| Refusal::NoBundle(shorten(&id)))?;
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(zip), PIECE);
    let receipt = Receipt {
        inbound: door.inbound,
        run,
        node,
        bundle: id,
        left: bytes,
    };
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (CONTENT_LENGTH, bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(receipted(pieces, receipt))).into_response())
}

/// Records that a node has received all of it.
struct Receipt {
    inbound: Inbound,
    run: String,
    node: String,
    bundle: String,
    left: u64,
}

/// The same pieces; the receipt is recorded with the last byte.
fn receipted<S>(pieces: S, mut receipt: Receipt) -> impl Stream<Item = io::Result<Bytes>>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    pieces.inspect(move |piece| {
        let bytes = piece.as_ref().map_or(0, Bytes::len) as u64;
        let before = receipt.left;
        receipt.left = before.saturating_sub(bytes);
        if before > 0 && receipt.left == 0 {
            receipt
                .inbound
                .served(&receipt.run, &receipt.node, &receipt.bundle);
        }
    })
}
