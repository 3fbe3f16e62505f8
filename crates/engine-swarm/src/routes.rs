//! The routes for carriers, served by the Director on a port of their own. They are not part of its public API and may
//! change with any version, because carriers and Director always have the same version. Each request carries the token
//! of its errand, which is checked before the body is read. Other requests are refused as unauthorized.

mod bundle;
mod refusal;
mod tail;

use crate::carrier_endpoint::{CarrierEndpoint, ContainerReport, NodeSample, RequestError};
use crate::port::resource_usage;
use crate::self_check::{READY_PATH, READY_PREFIX};
use atq_engine::{Bundles, RefusedRequest};
use atq_node_protocol::load::{ContainerLoad, Load};
use atq_node_protocol::tail::MAX_BODY;
use atq_task::spec::shorten;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
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
/// Size limit of a usage sample in bytes; a container takes some hundred.
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
        .route(
            "/carrier/{run}/tail",
            post(tail::receive).layer(DefaultBodyLimit::max(MAX_BODY)),
        )
        .method_not_allowed_fallback(unknown)
        .fallback(unknown)
        .layer(from_fn(describe_refusal))
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

/// A request that no carrier sends.
async fn unknown() -> Refusal {
    Refusal::Carrier(RequestError::Unauthorized)
}

/// The refusal of a path or query that no carrier sends. Others must not learn more than from a wrong token.
fn unauthorized<E>(_: E) -> Refusal {
    Refusal::Carrier(RequestError::Unauthorized)
}

/// Adds a [`RefusedRequest`] to the response to an unauthorized request.
async fn describe_refusal(request: Request, next: Next) -> Response {
    let described = format!("{} {}", request.method(), request.uri().path());
    let node = node(request.headers());
    let mut response = next.run(request).await;
    if let Some(refusal::Unauthorized(reason)) = response.extensions_mut().remove() {
        response.extensions_mut().insert(RefusedRequest {
            request: shorten(&described),
            node,
            reason,
        });
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
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<ResultsQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let Path((run, source)) = path.map_err(unauthorized)?;
    let (token, node) = (token(&headers)?.to_owned(), node(&headers));
    let inbound = state.inbound;
    inbound.check_results(&run, &token, &node, &source)?;
    let Query(query) = query.map_err(unauthorized)?;
    if let Some(problem) = query.problem.filter(|problem| !problem.is_empty()) {
        inbound.record_missing_results(&run, &token, &node, &source, &problem)?;
        return Ok(StatusCode::NO_CONTENT);
    }
    let tar = body.into_data_stream().map_err(io::Error::other).boxed();
    // The received part is kept even when the sender disconnects.
    let received = to_completion(async move {
        inbound
            .receive_results(&run, &token, &node, &source, tar)
            .await
    });
    received.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Runs the work in a separate task: it ends also if the sender disconnects.
async fn to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T, RequestError>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::spawn(work).await {
        Ok(done) => Ok(done?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Tasks of the runtime are cancelled only when the process ends.
            Err(_) => Err(Refusal::ShuttingDown),
        },
    }
}

/// Records the resource usage of a node and of its containers.
async fn load(
    State(state): State<RouteState>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<StatusCode, Response> {
    let refused = |refusal: Refusal| refusal.into_response();
    let Path(run) = path.map_err(unauthorized).map_err(refused)?;
    let token = token(&headers).map_err(refused)?;
    if !state.inbound.may_report_usage(&run, token) {
        return Err(refused(Refusal::Carrier(RequestError::Unauthorized)));
    }
    let read = Json::<Load>::from_request(request, &()).await;
    let Json(load) = read.map_err(IntoResponse::into_response)?;
    let container = |one: ContainerLoad| ContainerReport {
        source: one.source,
        id: one.id,
        percent: one.percent,
        usage: resource_usage(one.usage),
    };
    let sample = NodeSample {
        node: node(&headers),
        processors: load.cpus,
        percent: load.node_percent,
        containers: load.containers.into_iter().map(container).collect(),
    };
    let recorded = state.inbound.record_usage(&run, token, &sample);
    recorded.map_err(|error| refused(error.into()))?;
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

/// The node that the sender claims to be.
fn node(headers: &HeaderMap) -> String {
    let node = headers.get(NODE).and_then(|value| value.to_str().ok());
    shorten(node.unwrap_or_default())
}
