//! The routes for carriers, mounted by the Director. They are not part of its public API and may change with any
//! version, because carriers and Director always have the same version. Each request carries the token of its run.

mod bundle;
mod refusal;

use crate::carrier_endpoint::{CarrierEndpoint, NodeSample, RequestError};
use crate::self_check::{READY_PATH, READY_PREFIX};
use atq_engine::{Bundles, Source};
use atq_node_protocol::load::{ContainerLoad, Load};
use atq_task::spec::shorten;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures_util::{StreamExt, TryStreamExt};
use refusal::Refusal;
use serde::Deserialize;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use time::OffsetDateTime;

/// The Director's time in milliseconds since the Unix epoch, in every response: carriers compare it with their clock.
const NOW: HeaderName = HeaderName::from_static("x-atq-now");
/// The node that sends the request.
const NODE: HeaderName = HeaderName::from_static("x-atq-node");
/// Size limit of a usage sample in bytes; a container takes some hundred. The body is read before the token is
/// checked.
const USAGE_BYTES: usize = 1 << 20;

/// State of the routes. Cheap to clone.
#[derive(Clone)]
struct RouteState {
    inbound: CarrierEndpoint,
    bundles: Arc<dyn Bundles>,
    director_id: Arc<str>,
}

/// The routes, below `/carrier`.
pub(crate) fn router(
    inbound: CarrierEndpoint,
    bundles: Arc<dyn Bundles>,
    director_id: &str,
) -> Router {
    Router::new()
        .route(READY_PATH, get(ready))
        .route("/carrier/{run}/bundle/{id}", get(bundle::fetch))
        .route("/carrier/{run}/results/{source}", put(results))
        .route(
            "/carrier/{run}/load",
            post(load).layer(DefaultBodyLimit::max(USAGE_BYTES)),
        )
        .layer(map_response(add_time))
        .with_state(RouteState {
            inbound,
            bundles,
            director_id: director_id.into(),
        })
}

async fn add_time(mut response: Response) -> Response {
    let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    if let Ok(now) = HeaderValue::from_str(&now.to_string()) {
        response.headers_mut().insert(NOW, now);
    }
    response
}

/// Identifies the Director, which requests this itself before it sends carriers.
async fn ready(State(state): State<RouteState>) -> String {
    format!("{READY_PREFIX}{}\n", state.director_id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultsQuery {
    /// Reason for missing results.
    problem: Option<String>,
}

/// A tar of the results of a container; with a problem, the body is ignored.
async fn results(
    State(state): State<RouteState>,
    Path((run, source)): Path<(String, String)>,
    Query(query): Query<ResultsQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let token = token(&headers)?.to_owned();
    let inbound = state.inbound;
    if let Some(problem) = query.problem.filter(|problem| !problem.is_empty()) {
        inbound.record_missing_results(&run, &token, &source, &problem)?;
        return Ok(StatusCode::NO_CONTENT);
    }
    let tar = body.into_data_stream().map_err(io::Error::other).boxed();
    // Runs in a separate task, so that the received part is kept even when the sender disconnects.
    let received =
        tokio::spawn(async move { inbound.receive_results(&run, &token, &source, tar).await });
    match received.await {
        Ok(received) => received?,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Tasks of the runtime are cancelled only when the process ends.
            Err(_) => return Err(Refusal::ShuttingDown),
        },
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Records the CPU usage of a node.
async fn load(
    State(state): State<RouteState>,
    Path(run): Path<String>,
    headers: HeaderMap,
    Json(load): Json<Load>,
) -> Result<StatusCode, Refusal> {
    let named = |one: ContainerLoad| Source::parse(&one.source).map(|source| (source, one.percent));
    let sample = NodeSample {
        node: node(&headers),
        processors: load.cpus,
        percent: load.node_percent,
        containers: load.containers.into_iter().filter_map(named).collect(),
    };
    state
        .inbound
        .record_usage(&run, token(&headers)?, &sample)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The token of the carrier.
fn token(headers: &HeaderMap) -> Result<&str, Refusal> {
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(Refusal::Carrier(RequestError::Unauthorized))
}

/// The node of the carrier.
fn node(headers: &HeaderMap) -> String {
    let node = headers.get(NODE).and_then(|value| value.to_str().ok());
    shorten(node.unwrap_or_default())
}
