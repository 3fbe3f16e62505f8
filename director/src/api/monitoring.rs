//! Monitoring of 2018.

/// Returns `pong` while the process responds.
#[utoipa::path(
    get,
    path = "/monitoring/ping",
    operation_id = "ping",
    tag = "monitoring",
    responses((status = 200, description = "The Director answers.", body = String, content_type = "text/plain", example = "pong"))
)]
pub async fn ping() -> &'static str {
    "pong"
}
