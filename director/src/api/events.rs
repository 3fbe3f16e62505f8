//! What was recorded about a task: as a list, or live.

use super::app::App;
use super::error::{ApiError, RequestError};
use super::path::TaskId;
use super::query::Query;
use super::task::find;
use super::view::Teller;
use super::{media, view};
use atq_api_spec::error::Problem;
use atq_api_spec::task::{StreamedEvent, TaskEvent, TaskEvents};
use atq_run::events::News;
use atq_store::StoreError;
use atq_task::spec::shorten;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::future::ready;
use std::time::Duration;

const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: &str = "last-event-id";
/// After so long a silence a comment is sent, so that nobody on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// Tells the history of a task, as a list or live.
///
/// With `Accept: text/event-stream` what is there comes first and then each event as it is recorded,
/// until the task is done: `id` is the event's number, `event` its name, `data` the same JSON as in the
/// list. A client that was cut off says in `Last-Event-ID` what it has, and gets what follows. A task
/// that is deleted meanwhile ends the stream with an event `deleted`.
#[utoipa::path(
    get,
    path = "/task/{id}/events",
    operation_id = "getTaskEvents",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("after" = Option<u64>, Query, description = "Only events after the one with this number.", minimum = 0, maximum = 4294967295u32, example = 12),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same: what browsers send when they come back to a stream. Wins over `after`.", minimum = 0, nullable = false)
    ),
    responses(
        (status = 200, description = "Everything that was recorded, oldest first; as a stream, one event after the other.", content(
            (TaskEvents = "application/json"),
            (StreamedEvent = "text/event-stream", example = json!({
                "id": "2", "event": "stepStarted",
                "data": "{\"id\":2,\"at\":\"2026-01-31T12:00:00.25Z\",\"event\":\"stepStarted\",\"step\":\"network\",\"data\":{\"step\":\"network\"}}"
            }))
        )),
        (status = 400, description = "A parameter or `Last-Event-ID` means nothing.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`busy`: too many follow events or logs; `Retry-After` has the seconds until the next try.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn events(
    State(app): State<App>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = Query::read(&uri, &["after"])?;
    let after = query.number("after", 0..=u32::MAX)?.map(u64::from);
    let after = last_event_id(&headers)?.or(after).unwrap_or(0);
    let task = find(&app, &name).await?;
    if media::accepts(&headers, EVENT_STREAM) {
        let slot = app.slots.stream()?;
        let news = app.orchestrator.follow_events(&name, &task.state.run);
        let mut teller = Teller::default();
        let events = news.filter_map(move |news| ready(tell(&mut teller, news, after)));
        let hint = stream::once(ready(Ok(Event::default().retry(RETRY))));
        let alive = KeepAlive::new().interval(KEEP_ALIVE);
        let response = Sse::new(hint.chain(events)).keep_alive(alive);
        return Ok(slot.until_sent(response.into_response()));
    }
    let mut events = view::events(&app.orchestrator.history(&name).await?);
    events.retain(|event| event.id > after);
    let id = name.to_string();
    Ok(Json(TaskEvents { id, events }).into_response())
}

/// What the client says that it has.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, RequestError> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| {
        // As wide as the API's description says: what clients generated from it can send.
        text.trim()
            .parse::<i64>()
            .ok()
            .and_then(|n| n.try_into().ok())
    });
    let bad = || RequestError::BadQuery {
        reason: format!(
            "the header `Last-Event-ID` is `{}`; expected the whole number in `id` of the last event that was seen",
            shorten(&String::from_utf8_lossy(value.as_bytes()))
        ),
    };
    Ok(Some(number.ok_or_else(bad)?))
}

/// An event for the stream; none for those that the client has.
fn tell(
    teller: &mut Teller,
    news: Result<News, StoreError>,
    after: u64,
) -> Option<Result<Event, StoreError>> {
    match news {
        Ok(News::Event(record)) => {
            let event = teller.tell(&record);
            (event.id > after).then(|| Ok(wire(&event)))
        }
        Ok(News::Deleted) => {
            let data = json!({}).to_string();
            Some(Ok(Event::default().event("deleted").data(data)))
        }
        Err(error) => {
            tracing::warn!(%error, "events were cut off");
            Some(Err(error))
        }
    }
}

fn wire(event: &TaskEvent) -> Event {
    // Text without line ends: the name is one of ours, the rest is JSON.
    Event::default()
        .id(event.id.to_string())
        .event(&event.event)
        .data(serde_json::to_string(event).unwrap_or_default())
}
