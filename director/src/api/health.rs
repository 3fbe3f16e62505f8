//! Liveness and readiness of the Director.

use super::app::App;
use super::error::readiness_status;
use atq_api_spec::health::Readiness;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

const OK: &str = "ok";

/// Returns `ok` while the process is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "getHealth",
    tag = "health",
    responses((status = 200, description = "The process is alive.", body = String, content_type = "text/plain", example = "ok"))
)]
pub async fn healthz() -> &'static str {
    OK
}

/// Reports whether tasks can be run: Docker and the store are usable, and earlier tasks are resumed.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "getReadiness",
    tag = "health",
    responses(
        (status = 200, description = "The Director is ready.", body = Readiness, example = json!({"ready": true, "docker": "ok", "store": "ok", "recovery": "ok"})),
        (status = 503, description = "The Director is not ready; the response contains the reasons.", body = Readiness, example = json!({"ready": false, "docker": "Docker is not part of a swarm; run `docker swarm init` first", "store": "ok", "recovery": "ok"}))
    )
)]
pub async fn readyz(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let shared = app.orchestrator.shared();
    let docker = or_reason(shared.health.usable());
    // Writes to the disk and waits for the flush.
    let store = or_reason(shared.store.probe().await);
    let recovery = match *app.recovered.borrow() {
        true => OK.to_owned(),
        false => "resuming earlier tasks".to_owned(),
    };
    let ready = [&docker, &store, &recovery].iter().all(|part| *part == OK);
    let readiness = Readiness {
        ready,
        docker,
        store,
        recovery,
    };
    (readiness_status(ready), Json(readiness))
}

fn or_reason<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |_| OK.to_owned())
}
