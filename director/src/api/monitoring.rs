//! Whether somebody is there.

/// Says `pong`, as long as the process answers at all.
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
