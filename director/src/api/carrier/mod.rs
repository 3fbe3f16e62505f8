//! What only carriers ask for, from the nodes, each with the token of its run. Not a part of the API's
//! description: between Director and carriers of one version it may change at any time.

mod arrivals;
mod bundle;

use super::app::App;
use super::error::RequestError;
use atq_engine_swarm::inbound::Refused;
use atq_engine_swarm::reach::{GREETING, READY};
use atq_task::spec::shorten;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::map_response_with_state;
use axum::response::Response;
use axum::routing::{get, post, put};

/// Milliseconds since 1970 by the Director's clock, on every answer: carriers compare it with theirs.
const NOW: HeaderName = HeaderName::from_static("x-atq-now");
/// Bytes of a sample of the load: some hundred for each container of a node. It is read before the token
/// is looked at.
const LOAD_BYTES: usize = 1 << 20;
/// The node that asks.
const NODE: HeaderName = HeaderName::from_static("x-atq-node");

/// The routes.
pub fn routes(app: App) -> Router<App> {
    Router::new()
        .route(READY, get(ready))
        .route("/carrier/{run}/bundle/{id}", get(bundle::fetch))
        .route("/carrier/{run}/results/{source}", put(arrivals::results))
        .route(
            "/carrier/{run}/load",
            post(arrivals::load).layer(DefaultBodyLimit::max(LOAD_BYTES)),
        )
        .layer(map_response_with_state(app, dated))
}

async fn dated(State(app): State<App>, mut response: Response) -> Response {
    let now = app.orchestrator.shared().clock.now();
    response.headers_mut().insert(NOW, HeaderValue::from(now.0));
    response
}

/// Who is here: a Director asks itself before it sends carriers.
async fn ready(State(app): State<App>) -> String {
    let id = &app.orchestrator.shared().settings.director_id;
    format!("{GREETING}{id}\n")
}

/// The token that a carrier shows.
///
/// # Errors
/// When it shows none.
pub fn token(headers: &HeaderMap) -> Result<&str, RequestError> {
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(RequestError::Carrier(Refused::Stranger))
}

/// The node that a carrier names.
pub fn node(headers: &HeaderMap) -> String {
    let node = headers.get(NODE).and_then(|value| value.to_str().ok());
    shorten(node.unwrap_or_default())
}
