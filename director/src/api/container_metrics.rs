//! Resource usage of the containers of a task over time.

use super::app::App;
use super::body::with_guard;
use super::error::ApiError;
use super::path::TaskId;
use super::task::find;
use atq_api_spec::error::Problem;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

const CSV: &str = "text/csv; charset=utf-8";

/// Returns the resource usage of all containers of a task over time as CSV, also while the test runs.
///
/// One row for each container and interval: CPU usage, memory, network and block I/O. Empty columns are unknown.
#[utoipa::path(
    get,
    path = "/task/{id}/container-metrics",
    operation_id = "getTaskContainerMetrics",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly")
    ),
    responses(
        (status = 200, description = "The rows so far. Without samples, only the names of the columns.", content_type = "text/csv", body = String, example = "at,interval,container,id,node,sampled,cpus,cpus_max,cpus_limit,memory,memory_limit,received,sent,read,written\n1769860800000,2,worker.1,4f1c2a,x1y2z3,2,0.52,0.61,2,104857600,536870912,20480,4096,0,8192\n"),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The samples cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`busy`: too many concurrent downloads; `Retry-After` contains the seconds to wait.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn container_metrics(
    State(app): State<App>,
    TaskId(name): TaskId,
) -> Result<Response, ApiError> {
    let slot = app.slots.bulk()?;
    let task = find(&app, &name).await?;
    let run = &task.state.run;
    let evidence = &app.orchestrator.shared().evidence;
    let text = evidence.container_metrics(&name, run).await;
    let text = text.map_err(|error| ApiError::Evidence(error.to_string()))?;
    let file = format!("attachment; filename=\"{name}-{run}-container-metrics.csv\"");
    let headers = [(CONTENT_TYPE, CSV.to_owned()), (CONTENT_DISPOSITION, file)];
    Ok(with_guard((headers, text).into_response(), slot))
}
