//! Server-Sent Events.

use super::access::access_ended;
use super::app::App;
use super::body::with_guard;
use super::error::RequestError;
use super::media;
use super::slots::Slot;
use atq_access::Principal;
use atq_task::spec::shorten;
use axum::BoxError;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde_json::json;
use std::future::ready;
use std::time::Duration;

const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: &str = "last-event-id";
/// Interval of comments on an idle stream, so that proxies keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Reconnection delay for clients.
const RETRY: Duration = Duration::from_secs(2);

/// Whether a client accepts a stream of events.
pub fn is_accepted(headers: &HeaderMap) -> bool {
    media::accepts(headers, EVENT_STREAM)
}

/// The id of the last event that the client has received.
pub fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, RequestError> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| {
        // Limited to the range of the OpenAPI type, which generated clients can send.
        text.trim().parse::<i64>().ok()?.try_into().ok()
    });
    number.map(Some).ok_or_else(|| {
        let found = shorten(&String::from_utf8_lossy(value.as_bytes()));
        RequestError::BadQuery(format!(
            "the header `Last-Event-ID` is `{found}`; expected a whole number, the `id` of the last received event"
        ))
    })
}

/// The event for a task that was deleted, which ends a stream.
pub fn deleted() -> Event {
    Event::default()
        .event("deleted")
        .data(json!({}).to_string())
}

/// A stream of events to a client. Ends early when its access ends.
pub fn respond<E: Into<BoxError> + Send + 'static>(
    app: &App,
    client: Principal,
    slot: Slot,
    events: impl Stream<Item = Result<Event, E>> + Send + 'static,
) -> Response {
    let hint = stream::once(ready(Ok(Event::default().retry(RETRY))));
    let alive = KeepAlive::new().interval(KEEP_ALIVE);
    let ended = Box::pin(access_ended(app.access.clone(), client));
    let response = Sse::new(hint.chain(events).take_until(ended)).keep_alive(alive);
    with_guard(response.into_response(), slot)
}
