//! The events of a task: as a list, or as a stream.

use super::app::App;
use super::error::ApiError;
use super::path::TaskId;
use super::query::Query;
use super::task::find;
use super::view::EventConverter;
use super::{sse, view};
use atq_access::Principal;
use atq_api_spec::error::Problem;
use atq_api_spec::task::{StreamedEvent, TaskEvent, TaskEvents};
use atq_run::events::HistoryUpdate;
use atq_store::StoreError;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt;
use std::future::ready;

/// Returns the history of a task, as a list or as a live stream.
///
/// With `Accept: text/event-stream`, past events come first, then each event as it is recorded, until the task is
/// complete: `id` is the event's number, `event` its name, `data` the same JSON as in the list. A disconnected client
/// resumes with `Last-Event-ID`. If the task is deleted meanwhile, the stream ends with an event `deleted`.
#[utoipa::path(
    get,
    path = "/task/{id}/events",
    operation_id = "getTaskEvents",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("after" = Option<u64>, Query, description = "Only events after the one with this number.", minimum = 0, maximum = 4294967295u32, example = 12),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same: sent by browsers that resume a stream. Takes precedence over `after`.", minimum = 0, nullable = false)
    ),
    responses(
        (status = 200, description = "All events, oldest first; as a stream, one event at a time.", content(
            (TaskEvents = "application/json"),
            (StreamedEvent = "text/event-stream", example = json!({
                "id": "2", "event": "stepStarted",
                "data": "{\"id\":2,\"at\":\"2026-01-31T12:00:00.25Z\",\"event\":\"stepStarted\",\"step\":\"network\",\"data\":{\"step\":\"network\"}}"
            }))
        )),
        (status = 400, description = "A parameter or `Last-Event-ID` is invalid.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`busy`: too many concurrent streams of events or logs; `Retry-After` contains the seconds to wait.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn events(
    State(app): State<App>,
    Extension(client): Extension<Principal>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = Query::read(&uri, &["after"])?;
    let after = query.number("after", 0..=u32::MAX)?.map(u64::from);
    let after = sse::last_event_id(&headers)?.or(after).unwrap_or(0);
    let task = find(&app, &name).await?;
    if sse::is_accepted(&headers) {
        let slot = app.slots.stream()?;
        let updates = app.orchestrator.follow_events(&name, &task.state.run);
        let mut converter = EventConverter::default();
        let events = updates.filter_map(move |update| ready(to_sse(&mut converter, update, after)));
        return Ok(sse::respond(&app, client, slot, events));
    }
    let mut events = view::events(&app.orchestrator.history(&name).await?);
    events.retain(|event| event.id > after);
    let id = name.to_string();
    Ok(Json(TaskEvents { id, events }).into_response())
}

/// An event for the stream; `None` for events that the client has received.
fn to_sse(
    converter: &mut EventConverter,
    update: Result<HistoryUpdate, StoreError>,
    after: u64,
) -> Option<Result<Event, StoreError>> {
    match update {
        Ok(HistoryUpdate::Event(record)) => {
            let event = converter.convert(&record);
            (event.id > after).then(|| Ok(wire(&event)))
        }
        Ok(HistoryUpdate::Deleted) => Some(Ok(sse::deleted())),
        Err(error) => {
            tracing::warn!(%error, "event stream aborted");
            Some(Err(error))
        }
    }
}

fn wire(event: &TaskEvent) -> Event {
    // Contains no line breaks: the name is a constant, the rest is JSON.
    Event::default()
        .id(event.id.to_string())
        .event(&event.event)
        .data(serde_json::to_string(event).unwrap_or_default())
}
