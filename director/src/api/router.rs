//! All resources with their paths, and the permission that each of them requires.

use super::access::{self, guard};
use super::app::App;
use super::door::{self, Door};
use super::session::Browsers;
use super::{
    body, container_metrics, databind, error, events, exchange, headers, health, live, logs,
    manifest, media, metrics, monitoring, openapi, report, results, session, swarm, task, token,
};
use crate::exchange::Exchange;
use atq_access::Permission;
use atq_api_spec::{MEDIA_PROBLEM, MEDIA_SWARM, MEDIA_TASK, MEDIA_UPLOAD, MEDIA_UPLOADS};
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::uri::PathAndQuery;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::routing::get;
use axum::{Extension, Router};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutBody;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

const JSON: &str = "application/json";
/// Base path, as in 2018.
const BASE: &str = "/api";
/// Idle timeout of a client within a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Path of Swagger UI.
pub(super) const SWAGGER_UI: &str = "/swagger-ui";

/// All routes of the Director for its clients.
pub fn router(mut app: App) -> Router {
    let browsers = Browsers::new(&app.config, app.access.tokens().clone());
    app.access = app.access.with(browsers.clone());
    let access = app.access.clone();
    let door = Arc::new(Door::new(&app.config, access.clone()));
    let exchange = Arc::new(Exchange::new(&app.config.token_exchange));
    let requests = app.metrics.http().clone();
    let (routes, document) = resources().split_for_parts();
    let public = || from_fn_with_state(Permission::Public, guard);
    let inner = routes
        .layer(Extension(exchange))
        .merge(openapi::pages(document).layer(public()))
        .merge(session::pages().layer(public()))
        .method_not_allowed_fallback(error::method_not_allowed)
        .fallback(error::unknown_path)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(body::drain_refused))
        .layer(CatchPanicLayer::custom(error::crashed))
        .layer(from_fn(access::require_guard))
        .layer(from_fn(metrics::note_route))
        .layer(Extension(access))
        .layer(Extension(browsers))
        .with_state(app);
    // A service behind the fallback, because layers of a router run after routing.
    let inner = inner.layer(from_fn(session::send_to_sign_in));
    let all = inner.map_request(|request| with_idle_timeout(canonical(request)));
    // Frequent probes bypass the layers of the other resources.
    let ping = get(monitoring::ping).fallback_service(all.clone());
    let ping = ping.layer(from_fn(metrics::note_route));
    Router::new()
        .route("/monitoring/ping", ping.clone())
        .route("/api/monitoring/ping", ping)
        .fallback_service(all)
        .layer(from_fn_with_state(door, door::check))
        .layer(map_response(headers::protect))
        .layer(from_fn_with_state(requests, metrics::count))
}

/// The resources with their description, by the permission that they require.
pub(super) fn resources() -> OpenApiRouter<App> {
    use Permission::{Administer, Public, Read, Run};
    let tasks = Media::Vendor(MEDIA_TASK);
    Resources::new()
        .add(Public, Media::Json, routes!(monitoring::ping))
        .add(Public, Media::Problem, routes!(health::healthz))
        .add(Public, Media::Problem, routes!(health::readyz))
        .add(Public, Media::Problem, routes!(exchange::exchange))
        .add(Run, tasks, routes!(task::create))
        .add(Read, tasks, routes!(task::inspect))
        .add(Run, tasks, routes!(task::delete))
        .add(Read, Media::Problem, routes!(metrics::metrics))
        .add(Read, Media::Problem, routes!(task::list))
        .add(Read, Media::Problem, routes!(events::events))
        .add(Read, Media::Problem, routes!(live::live))
        .add(Run, Media::Problem, routes!(task::stop))
        .add(Run, Media::Problem, routes!(task::renew_lease))
        .add(Read, Media::Problem, routes!(logs::logs))
        .add(Read, Media::Problem, routes!(report::report))
        .add(Read, Media::Problem, routes!(results::results))
        .add(
            Read,
            Media::Problem,
            routes!(container_metrics::container_metrics),
        )
        .add(Read, Media::Problem, routes!(manifest::manifest))
        .add(Run, Media::Vendor(MEDIA_UPLOAD), routes!(databind::upload))
        .add(Read, Media::Vendor(MEDIA_UPLOADS), routes!(databind::list))
        .add(Read, Media::Problem, routes!(databind::inspect))
        .add(Run, Media::Problem, routes!(databind::delete))
        .add(
            Administer,
            Media::Vendor(MEDIA_SWARM),
            routes!(swarm::status),
        )
        .add(Read, Media::Problem, routes!(session::current))
        .add(Administer, Media::Problem, routes!(token::create))
        // The handlers restrict clients that are not administrators to their own tokens.
        .add(Read, Media::Problem, routes!(token::list))
        .add(Read, Media::Problem, routes!(token::revoke))
        .0
}

/// The media types of a resource.
#[derive(Debug, Clone, Copy)]
enum Media {
    /// JSON, also for errors, as in 2018.
    Json,
    /// As [`Media::Json`], or this type on request.
    Vendor(&'static str),
    /// Errors are [`MEDIA_PROBLEM`]: resources added after 2018.
    Problem,
}

/// Resources, each with a permission: there is no other way to add one.
struct Resources(OpenApiRouter<App>);

impl Resources {
    fn new() -> Self {
        Self(OpenApiRouter::with_openapi(openapi::base()))
    }

    /// Adds operations that require this permission.
    fn add(self, permission: Permission, media: Media, routes: UtoipaMethodRouter<App>) -> Self {
        let routes = OpenApiRouter::new().routes(routes);
        let mut routes = routes.layer(from_fn_with_state(permission, guard));
        let errors: &[&str] = match &media {
            Media::Json => &[JSON],
            Media::Vendor(kind) => &[JSON, kind],
            Media::Problem => &[MEDIA_PROBLEM],
        };
        openapi::describe_access(routes.get_openapi_mut(), permission, errors);
        let routes = match media {
            Media::Json => routes,
            Media::Vendor(kind) => routes.layer(from_fn_with_state(kind, media::vendor)),
            Media::Problem => routes.layer(map_response(error::as_problem)),
        };
        Self(self.0.merge(routes))
    }
}

/// Limits the idle time of a client within a request. Otherwise it could hold a connection, and the disk space of an
/// upload, indefinitely.
pub(super) fn with_idle_timeout(request: Request) -> Request {
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
pub(super) fn canonical_path(path: &str) -> Option<&str> {
    let inner = path
        .strip_prefix(BASE)
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    // The pages of Swagger UI use URLs relative to the slash.
    let slash = !inner.starts_with(SWAGGER_UI) && inner.len() > 1;
    let inner = inner.strip_suffix('/').filter(|_| slash).unwrap_or(inner);
    (inner.len() != path.len()).then_some(inner)
}
