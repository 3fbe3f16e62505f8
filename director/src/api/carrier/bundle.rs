//! A bundle, for a node that is to get it.

use super::{node, token};
use crate::api::app::App;
use crate::api::error::{ApiError, RequestError};
use atq_bundle_store::BundleId;
use atq_engine_swarm::admission::Refusal;
use atq_engine_swarm::inbound::{Inbound, Refused};
use atq_task::spec::shorten;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use std::io;
use tokio_util::io::ReaderStream;

/// Bytes that are read from the disk at once, for each node that fetches.
const PIECE: usize = 256 << 10;

/// The zip of a bundle, as it was uploaded.
pub async fn fetch(
    State(app): State<App>,
    Path((run, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let node = node(&headers);
    let may = app.inbound.may_fetch(&run, token(&headers)?, &node, &id);
    may.map_err(|refusal| match refusal {
        Refusal::Token => RequestError::Carrier(Refused::Stranger),
        Refusal::Closed => RequestError::NotDelivered { id: shorten(&id) },
        Refusal::Again => RequestError::Delivered { id: shorten(&id) },
    })?;
    let gone = || RequestError::NoBundle { id: shorten(&id) };
    let bundle: BundleId = id.parse().map_err(|_| gone())?;
    let (zip, bytes) = app.bundles().zip(&bundle).await?.ok_or_else(gone)?;
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(zip), PIECE);
    let receipt = Receipt {
        inbound: app.inbound.clone(),
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

/// Notes that a node has got all of it.
struct Receipt {
    inbound: Inbound,
    run: String,
    node: String,
    bundle: String,
    left: u64,
}

/// The same pieces; once the last byte has been handed over, that is noted.
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
