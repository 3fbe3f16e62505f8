//! What carriers send: results, and how busy a node is.

use super::{node, token};
use crate::api::app::App;
use crate::api::detached::to_its_end;
use crate::api::error::{ApiError, RequestError};
use crate::api::query::Query;
use atq_engine_swarm::inbound::NodeSample;
use atq_evidence::Source;
use atq_node_protocol::load::{ContainerLoad, Load};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use futures_util::{StreamExt, TryStreamExt};
use std::io;

/// A tar with what a container left; instead of it, a problem.
pub async fn results(
    State(app): State<App>,
    Path((run, source)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let token = token(&headers)?.to_owned();
    let query = Query::read(&uri, &["problem"])?;
    let it = app.inbound;
    if let Some(problem) = query.text("problem") {
        it.note_results(&run, &token, &source, problem)
            .map_err(RequestError::Carrier)?;
        return Ok(StatusCode::NO_CONTENT);
    }
    let tar = body.into_data_stream().map_err(io::Error::other).boxed();
    // What has arrived is kept also when its sender goes away.
    let taken = to_its_end(async move { it.take_results(&run, &token, &source, tar).await });
    taken.await?.map_err(RequestError::Carrier)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Notes how busy a node is.
pub async fn load(
    State(app): State<App>,
    Path(run): Path<String>,
    headers: HeaderMap,
    Json(load): Json<Load>,
) -> Result<StatusCode, ApiError> {
    let token = token(&headers)?;
    let named = |one: ContainerLoad| Source::parse(&one.source).map(|source| (source, one.percent));
    let sample = NodeSample {
        node: node(&headers),
        processors: load.cpus,
        percent: load.node_percent,
        containers: load.containers.into_iter().filter_map(named).collect(),
    };
    let taken = app.inbound.take_load(&run, token, &sample);
    taken.map_err(RequestError::Carrier)?;
    Ok(StatusCode::NO_CONTENT)
}
