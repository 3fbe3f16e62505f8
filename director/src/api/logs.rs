//! Logs of the containers of a task.

use super::access::access_ended;
use super::app::App;
use super::body::with_guard;
use super::error::ApiError;
use super::path::TaskId;
use super::query::Query;
use super::task::find;
use super::{media, view};
use atq_access::Principal;
use atq_api_spec::error::Problem;
use atq_api_spec::task::LogEntry;
use atq_engine::Role;
use atq_run::logs::{LogError, LogFilter, SourcedLine};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

const TEXT: &str = "text/plain; charset=utf-8";
const NDJSON: &str = "application/x-ndjson";
/// Maximum number of available lines per chunk.
const CHUNK_LINES: usize = 256;

/// Values of `?service=`.
const SERVICES: [(&str, Role); 4] = [
    ("worker", Role::Worker),
    ("master", Role::Master),
    ("readiness", Role::Readiness),
    ("wait", Role::Wait),
];

/// Values of `?follow=`.
const BOOLEANS: [(&str, bool); 4] = [("1", true), ("true", true), ("0", false), ("false", false)];

/// Returns the log lines of a task, container by container, during and after its run.
///
/// With `follow=1`, lines are sent as they are written, in the order of their arrival, until the selected containers
/// have ended or the run has ended.
#[utoipa::path(
    get,
    path = "/task/{id}/logs",
    operation_id = "getTaskLogs",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("service" = Option<String>, Query, description = "Only this service: `worker`, `master`, `readiness` or `wait`.", pattern = "^(worker|master|readiness|wait)?$", example = "worker"),
        ("replica" = Option<u64>, Query, description = "Only this replica; for `wait`, this attempt.", minimum = 1, maximum = 4294967295u32, example = 2),
        ("tail" = Option<u64>, Query, description = "Only the last lines of each container.", minimum = 0, maximum = 4294967295u32, example = 100),
        ("follow" = Option<String>, Query, description = "`1` or `true`: follow the log. `tail` then applies to existing lines.", pattern = "^(1|true|0|false)?$", example = "1")
    ),
    responses(
        (status = 200, description = "The lines: as text, or as NDJSON if `Accept` contains `application/x-ndjson`.", content(
            (String = "text/plain", example = "2026-01-31T12:00:00.250000000Z worker.2 ready\n"),
            (LogEntry = "application/x-ndjson", example = json!({"at": "2026-01-31T12:00:00.250000000Z", "service": "worker", "replica": 2, "stream": "stdout", "text": "ready"}))
        )),
        (status = 400, description = "A parameter is invalid.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The stored lines cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Docker does not return the lines; or `busy`: too many logs are being read or followed, and `Retry-After` contains the seconds to wait.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn logs(
    State(app): State<App>,
    Extension(client): Extension<Principal>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (filter, follows) = filter(&uri)?;
    let slot = match follows {
        true => app.slots.stream()?,
        false => app.slots.bulk()?,
    };
    let task = find(&app, &name).await?;
    let lines = match follows {
        true => app.orchestrator.follow_logs(&task, filter).await?,
        false => app.orchestrator.logs(&task, filter).await?,
    };
    let (kind, format): (_, fn(SourcedLine) -> String) = match media::accepts(&headers, NDJSON) {
        true => (NDJSON, ndjson),
        false => (TEXT, text),
    };
    // An error aborts the body, so that a client detects the truncation.
    let body = lines
        .ready_chunks(CHUNK_LINES)
        .map(move |lines| to_chunk(lines, format))
        .take_until(Box::pin(access_ended(app.access.clone(), client)));
    let response = ([(CONTENT_TYPE, kind)], Body::from_stream(body)).into_response();
    Ok(with_guard(response, slot))
}

fn filter(uri: &Uri) -> Result<(LogFilter, bool), ApiError> {
    let query = Query::read(uri, &["service", "replica", "tail", "follow"])?;
    let filter = LogFilter {
        role: query.choice("service", &SERVICES)?,
        replica: query.number("replica", 1..=u32::MAX)?,
        tail: query.number("tail", 0..=u32::MAX)?,
    };
    Ok((filter, query.choice("follow", &BOOLEANS)?.unwrap_or(false)))
}

fn to_chunk(
    lines: Vec<Result<SourcedLine, LogError>>,
    format: fn(SourcedLine) -> String,
) -> Result<Bytes, LogError> {
    let lines = lines.into_iter().map(|line| line.map(format));
    let text: Result<String, _> = lines.collect();
    text.inspect_err(|error| tracing::warn!(%error, "log stream aborted"))
        .map(Bytes::from)
}

fn text((source, line): SourcedLine) -> String {
    view::log_text(source, &line)
}

fn ndjson((source, line): SourcedLine) -> String {
    let mut text = serde_json::to_string(&view::log_entry(source, line)).unwrap_or_default();
    text.push('\n');
    text
}
