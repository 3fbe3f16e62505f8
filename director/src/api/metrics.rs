//! `GET /metrics`, and the layers that count requests.
//!
//! [`count`] is the outermost layer: it counts each request once, whatever answers it. [`note_route`] runs after routing
//! and notes the template of the route, so that no path of a client becomes a label.

use super::app::App;
use super::error::{ApiError, RequestError};
use super::media;
use super::router::canonical_path;
use crate::metrics::{Format, HttpMetrics, Route};
use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The media type of OpenMetrics in the version that is written.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
/// The media type that a client may prefer.
const TEXT: &str = "text/plain";

/// Returns the metrics of the Director for Prometheus.
///
/// OpenMetrics 1.0 if `Accept` contains `application/openmetrics-text`, else the text format 0.0.4. Figures of stored data
/// are at most 15 seconds old, unless the Director needs longer than a second to determine them.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = "monitoring",
    responses((status = 200, description = "The metrics.", content(
        (String = "text/plain; version=0.0.4", example = "# HELP atq_queue_length Tasks in the queue.\n# TYPE atq_queue_length gauge\natq_queue_length 0\n"),
        (String = "application/openmetrics-text; version=1.0.0")
    )))
)]
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let format = match media::prefers(&headers, OPEN_METRICS, TEXT) {
        true => Format::OpenMetrics,
        false => Format::Text,
    };
    let output = app.metrics.scrape(format).await;
    let output = output.map_err(|_| RequestError::NoMetrics)?;
    Ok(([(CONTENT_TYPE, format.media_type())], output).into_response())
}

/// Counts a request with its route, its method and the status of its response.
pub async fn count(
    State(metrics): State<HttpMetrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let pending = metrics.begin(request.method().as_str());
    request.extensions_mut().insert(pending.route());
    let response = next.run(request).await;
    pending.answered(response.status().as_u16());
    response
}

/// Notes the route of a request for [`count`].
pub async fn note_route(request: Request, next: Next) -> Response {
    let extensions = request.extensions();
    let found = extensions.get::<Route>().zip(extensions.get());
    if let Some((route, path)) = found {
        let path: &MatchedPath = path;
        route.set(canonical_path(path.as_str()).unwrap_or(path.as_str()));
    }
    next.run(request).await
}
