//! The manifest of a run.

use super::app::App;
use super::detached::to_completion;
use super::error::{ApiError, RequestError};
use super::path::TaskId;
use super::query::Query;
use super::task::find;
use super::view;
use atq_api_spec::error::Problem;
use atq_api_spec::manifest::{EnvironmentValue, Manifest};
use atq_run::View;
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use std::collections::BTreeMap;
use tokio::task::spawn_blocking;

/// Returns the manifest of a run: everything needed to run it again exactly.
///
/// Images by digest, bundles, nodes, addresses, times and clocks, recorded during the run. Available from the
/// beginning, and complete once the task is complete, even after an early failure.
#[utoipa::path(
    get,
    path = "/task/{id}/manifest",
    operation_id = "getTaskManifest",
    tag = "task",
    params(("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly")),
    responses(
        (status = 200, description = "The manifest, without values of environment variables.", body = Manifest),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The evidence cannot be read.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn manifest(
    State(app): State<App>,
    TaskId(name): TaskId,
    uri: Uri,
) -> Result<Json<Manifest>, ApiError> {
    Query::read(&uri, &[])?;
    let task = find(&app, &name).await?;
    let evidence = &app.orchestrator.shared().evidence;
    let usage = evidence.cpu_usage(&task.spec.name, &task.state.run).await;
    let clocks = usage.map_err(failed)?.unwrap_or_default().clock_offsets;
    let read = spawn_blocking(move || read(&app, &task, clocks));
    let manifest = to_completion(read)
        .await?
        .map_err(|_| RequestError::ShuttingDown)?;
    Ok(Json(manifest?))
}

/// Blocks the thread.
fn read(app: &App, task: &View, clocks: BTreeMap<String, i64>) -> Result<Manifest, ApiError> {
    let evidence = &app.orchestrator.shared().evidence;
    let mut environment = Vec::new();
    for (service, spec) in [("master", &task.spec.master), ("worker", &task.spec.worker)] {
        for variable in &spec.environment {
            environment.push(EnvironmentValue {
                service: service.to_owned(),
                name: variable.name.clone(),
                fingerprint: evidence.fingerprint(&variable.value).map_err(failed)?,
            });
        }
    }
    let observed = evidence.observed(&task.spec.name, &task.state.run);
    let mut manifest = view::manifest(task, observed, environment);
    // Measured during the test, after the delivery.
    manifest.clock_offsets.extend(clocks);
    Ok(manifest)
}

fn failed(error: std::io::Error) -> ApiError {
    ApiError::Evidence(error.to_string())
}
