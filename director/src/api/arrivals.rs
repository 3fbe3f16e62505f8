//! What carriers send from the nodes: results, and how busy a node is. Not for users, and not in the
//! document.

use super::App;
use super::error::{ApiError, RequestError};
use super::query::Query;
use super::to_its_end;
use crate::evidence::Source;
use crate::orchestrator::receive::{NodeSample, Refused};
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{post, put};
use futures_util::TryStreamExt;
use serde::Deserialize;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// The header in which a carrier says on which node it is.
const NODE: &str = "x-atq-node";

/// The header with the Director's clock, in milliseconds since 1970.
const NOW: &str = "x-atq-now";

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/carrier/{run}/results/{source}", put(results))
        .route("/carrier/{run}/load", post(load))
        .layer(map_response(with_time))
}

/// From the time in an answer a carrier tells how far its node's clock is off.
async fn with_time(mut response: Response) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = now.map_or(0, |now| now.as_millis()).to_string();
    if let Ok(millis) = millis.parse() {
        response.headers_mut().insert(NOW, millis);
    }
    response
}

/// The token in `Authorization: Bearer <token>`.
fn token(headers: &HeaderMap) -> Result<&str, RequestError> {
    let value = headers.get(header::AUTHORIZATION);
    value
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(RequestError::Carrier(Refused::Stranger))
}

async fn results(
    State(app): State<App>,
    Path((run, source)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let token = token(&headers)?.to_owned();
    let query = Query::read(&uri, &["problem"])?;
    let it = app.orchestrator;
    if let Some(problem) = query.text("problem") {
        it.note_results(&run, &token, &source, problem)
            .map_err(RequestError::Carrier)?;
        return Ok(StatusCode::NO_CONTENT);
    }
    let tar = body.into_data_stream().map_err(io::Error::other);
    // What has arrived is kept also when its sender goes away.
    let taken = to_its_end(async move { it.take_results(&run, &token, &source, tar).await });
    taken.await?.map_err(RequestError::Carrier)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Load {
    cpus: u32,
    node_percent: f64,
    containers: Vec<Busy>,
}

#[derive(Debug, Deserialize)]
struct Busy {
    source: String,
    percent: f64,
}

async fn load(
    State(app): State<App>,
    Path(run): Path<String>,
    headers: HeaderMap,
    Json(load): Json<Load>,
) -> Result<StatusCode, ApiError> {
    let token = token(&headers)?;
    let node = headers.get(NODE).and_then(|node| node.to_str().ok());
    let named = |one: Busy| Source::parse(&one.source).map(|source| (source, one.percent));
    let sample = NodeSample {
        node: node.unwrap_or_default().to_owned(),
        processors: load.cpus,
        percent: load.node_percent,
        containers: load.containers.into_iter().filter_map(named).collect(),
    };
    let taken = app.orchestrator.take_load(&run, token, &sample);
    taken.map_err(RequestError::Carrier)?;
    Ok(StatusCode::NO_CONTENT)
}
