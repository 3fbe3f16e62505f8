//! Result files of a task from `/atq/results`.

use super::app::App;
use super::body::with_guard;
use super::error::{ApiError, RequestError};
use super::path::TaskId;
use super::query::Query;
use super::task::find;
use atq_api_spec::bundle::ZipFile;
use atq_api_spec::error::Problem;
use atq_engine::Role;
use atq_evidence::Source;
use atq_run::View;
use atq_run::await_report::REPORT_TIMEOUT;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

const ZIP: &str = "application/zip";

/// Values of `?service=`.
const SERVICES: [(&str, Role); 2] = [("worker", Role::Worker), ("master", Role::Master)];

/// Returns the result files of a task from `/atq/results` as a zip with a directory for each container.
///
/// The zip is streamed. A request right after the end of the run blocks until the results are collected.
#[utoipa::path(
    get,
    path = "/task/{id}/results",
    operation_id = "getTaskResults",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("service" = Option<String>, Query, description = "Only this service: `worker` or `master`.", pattern = "^(worker|master)?$", example = "master"),
        ("replica" = Option<u64>, Query, description = "Only this replica.", minimum = 1, maximum = 4294967295u32, example = 2)
    ),
    responses(
        (status = 200, description = "A zip with `master.1/...`, `worker.3/...`.", content_type = "application/zip", body = inline(ZipFile)),
        (status = 400, description = "A parameter is invalid.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task, or it has no results.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The run has not ended.", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The stored results cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`busy`: too many concurrent downloads; `Retry-After` contains the seconds to wait.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn results(
    State(app): State<App>,
    TaskId(name): TaskId,
    uri: Uri,
) -> Result<Response, ApiError> {
    let slot = app.slots.bulk()?;
    let query = Query::read(&uri, &["service", "replica"])?;
    let role = query.choice("service", &SERVICES)?;
    let replica = query.number("replica", 1..=u32::MAX)?;
    let task = ended(&app, find(&app, &name).await?).await?;
    let evidence = &app.orchestrator.shared().evidence;
    let run = &task.state.run;
    let stored = evidence.results(&name, run).await;
    let stored = stored.map_err(|error| ApiError::Evidence(error.to_string()))?;
    let sources: Vec<Source> = stored
        .iter()
        .filter(|stored| stored.files > 0)
        .map(|stored| stored.source)
        .filter(|source| role.is_none_or(|role| role == source.role))
        .filter(|source| replica.is_none_or(|replica| replica == source.replica))
        .collect();
    if sources.is_empty() {
        return Err(RequestError::NoResults(name.to_string()).into());
    }
    let zip = evidence.zip_results(&name, run, sources);
    let file = format!("attachment; filename=\"{name}-{run}-results.zip\"");
    let headers = [(CONTENT_TYPE, ZIP.to_owned()), (CONTENT_DISPOSITION, file)];
    let response = (headers, Body::from_stream(zip)).into_response();
    Ok(with_guard(response, slot))
}

/// Waits until the task's evidence is collected; an error while its run has not ended.
pub async fn ended(app: &App, task: View) -> Result<View, ApiError> {
    let name = task.spec.name.to_string();
    let waited = app.orchestrator.wait_for_report(task, REPORT_TIMEOUT);
    match waited.await? {
        None => Err(RequestError::NoTask(name).into()),
        Some(task) if !task.is_reported() => {
            let step = task.state.step.as_str();
            Err(RequestError::NotOver { name, step }.into())
        }
        Some(task) => Ok(task),
    }
}
