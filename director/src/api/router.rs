//! All resources with their paths.

use super::app::App;
use super::{
    body, databind, error, events, health, logs, manifest, media, monitoring, openapi, report,
    results, swarm, task,
};
use atq_api_spec::{MEDIA_SWARM, MEDIA_TASK, MEDIA_UPLOAD, MEDIA_UPLOADS};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::uri::PathAndQuery;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::routing::get;
use std::time::Duration;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutBody;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Base path, as in 2018.
const BASE: &str = "/api";
/// Idle timeout of a client within a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Path of Swagger UI.
pub(super) const SWAGGER_UI: &str = "/swagger-ui";

/// All routes of the Director, including those of the engine.
pub fn router(app: App, engine_routes: Router) -> Router {
    let (routes, document) = resources().split_for_parts();
    let inner = routes
        .merge(openapi::pages(document))
        .merge(engine_routes.with_state(()))
        .method_not_allowed_fallback(error::method_not_allowed)
        .fallback(error::unknown_path)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(body::drain_refused))
        .layer(CatchPanicLayer::custom(error::crashed))
        .with_state(app);
    // A service behind the fallback, because layers of a router run after routing.
    let all = inner.map_request(|request| with_idle_timeout(canonical(request)));
    // Frequent probes bypass the layers of the other resources.
    let ping = get(monitoring::ping).fallback_service(all.clone());
    Router::new()
        .route("/monitoring/ping", ping.clone())
        .route("/api/monitoring/ping", ping)
        .fallback_service(all)
}

/// The resources with their description.
pub(super) fn resources() -> OpenApiRouter<App> {
    let vendor = |routes: OpenApiRouter<App>, media: &'static str| {
        routes.layer(from_fn_with_state(media, media::vendor))
    };
    let tasks = OpenApiRouter::new()
        .routes(routes!(task::create))
        .routes(routes!(task::inspect, task::delete));
    let additions = OpenApiRouter::new()
        .routes(routes!(task::list))
        .routes(routes!(events::events))
        .routes(routes!(task::stop))
        .routes(routes!(task::renew_lease))
        .routes(routes!(logs::logs))
        .routes(routes!(report::report))
        .routes(routes!(results::results))
        .routes(routes!(manifest::manifest))
        .routes(routes!(databind::inspect, databind::delete))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .layer(map_response(error::as_problem));
    let upload = OpenApiRouter::new().routes(routes!(databind::upload));
    let uploads = OpenApiRouter::new().routes(routes!(databind::list));
    let swarm = OpenApiRouter::new().routes(routes!(swarm::status));
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(monitoring::ping))
        .merge(vendor(swarm, MEDIA_SWARM))
        .merge(vendor(upload, MEDIA_UPLOAD))
        .merge(vendor(uploads, MEDIA_UPLOADS))
        .merge(vendor(tasks, MEDIA_TASK))
        .merge(additions)
}

/// Limits the idle time of a client within a request. Otherwise it could hold a connection, and the disk space of an
/// upload, indefinitely.
fn with_idle_timeout(request: Request) -> Request {
    match request.body().is_end_stream() {
        true => request,
        false => request.map(|body| Body::new(TimeoutBody::new(IDLE_TIMEOUT, body))),
    }
}

/// Rewrites the request to the canonical path of its resource.
fn canonical(mut request: Request) -> Request {
    let Some(path) = canonical_path(request.uri().path()) else {
        return request;
    };
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = target.parse::<PathAndQuery>().ok();
    if let Ok(uri) = parts.try_into() {
        *request.uri_mut() = uri;
    }
    request
}

/// `path` without base path and trailing slash; `None` when it has neither.
fn canonical_path(path: &str) -> Option<&str> {
    let inner = path
        .strip_prefix(BASE)
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    // The pages of Swagger UI use URLs relative to the slash.
    let slash = !inner.starts_with(SWAGGER_UI) && inner.len() > 1;
    let inner = inner.strip_suffix('/').filter(|_| slash).unwrap_or(inner);
    (inner.len() != path.len()).then_some(inner)
}
