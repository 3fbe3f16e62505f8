//! The events of a task, each once, as they are recorded, resumed after lost connections.

use crate::context::Context;
use crate::director::Director;
use crate::error::CliError;
use crate::fetch::interrupted;
use crate::path::segment;
use crate::retry::{FOLLOW_RETRY_FOR, Retry};
use atq_api_spec::task::{Step, TaskEvent, TaskEvents};
use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt, stream};
use reqwest::{Method, RequestBuilder, Response, header};
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[cfg(test)]
mod tests;

/// Header with the number of the last received event.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// The Director sends at least a comment every 15 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The reason why there are no more events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The task is over, and the last event was passed.
    Finished,
    /// The task was removed.
    Deleted,
    /// `each` returned a break.
    Cancelled,
}

/// Passes the events after number `after` to `each`, until the task is over or removed, or `each` breaks.
///
/// # Errors
/// When the Director rejects the request, or is unreachable for five minutes (a few seconds at the first attempt).
pub async fn follow(
    context: &Context,
    name: &str,
    after: u64,
    mut each: impl FnMut(&TaskEvent) -> ControlFlow<()>,
) -> Result<End, CliError> {
    let mut retry = Retry::within(FOLLOW_RETRY_FOR);
    let mut last = after;
    let mut response = open(context, name, last, false).await?;
    loop {
        let since = Instant::now();
        let ended = read(context, response, &mut last, |event| {
            retry.connected();
            each(event)
        })
        .await;
        let ended = match ended {
            Ok(None) => rest(context, name, &mut last, &mut each).await,
            other => other,
        };
        let mut error = match ended {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => context
                .director
                .unreachable("the stream ended before the task was over".to_owned()),
            Err(error) if error.is_task_not_found() => return Ok(End::Deleted),
            Err(error) => error,
        };
        retry.disconnected(context.out, since, &error);
        response = loop {
            retry.wait(error).await?;
            match open(context, name, last, true).await {
                Ok(response) => break response,
                Err(other) if other.is_task_not_found() => return Ok(End::Deleted),
                Err(other) => error = other,
            }
        };
    }
}

async fn open(
    context: &Context,
    name: &str,
    last: u64,
    is_retry: bool,
) -> Result<Response, CliError> {
    let request = request(&context.director, name)?.header(LAST_EVENT_ID, last);
    match is_retry {
        true => context.director.send(request).await,
        false => context.director.send_with_retries(request).await,
    }
}

/// The request of a stream of the events.
pub fn request(director: &Director, name: &str) -> Result<RequestBuilder, CliError> {
    let request = director.request(Method::GET, &format!("task/{}/events", segment(name)))?;
    Ok(request.header(header::ACCEPT, "text/event-stream"))
}

/// Reads one stream until its end; `None` if it was properly closed, but is possibly incomplete.
async fn read(
    context: &Context,
    response: Response,
    last: &mut u64,
    mut each: impl FnMut(&TaskEvent) -> ControlFlow<()>,
) -> Result<Option<End>, CliError> {
    let mut events = Box::pin(bytes(response, IDLE_TIMEOUT).eventsource());
    let mut is_over = false;
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| interrupted(&context.director, &error))?;
        if event.event == "deleted" {
            return Ok(Some(End::Deleted));
        }
        let event: TaskEvent = serde_json::from_str(&event.data).map_err(invalid_body)?;
        is_over = event.step == Step::Done;
        if pass(&event, last, &mut each).is_break() {
            return Ok(Some(End::Cancelled));
        }
    }
    Ok(is_over.then_some(End::Finished))
}

/// Passes an event that was not passed before.
fn pass(
    event: &TaskEvent,
    last: &mut u64,
    each: &mut impl FnMut(&TaskEvent) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if event.id <= *last {
        return ControlFlow::Continue(());
    }
    *last = event.id;
    each(event)
}

/// Passes the remaining events after a closed stream. A stream closes when the task is over, and when the Director shuts
/// down. In the first case the list of events is complete, because the task was over before the request.
async fn rest(
    context: &Context,
    name: &str,
    last: &mut u64,
    each: &mut impl FnMut(&TaskEvent) -> ControlFlow<()>,
) -> Result<Option<End>, CliError> {
    if context.director.task(name).await?.step != Step::Done {
        return Ok(None);
    }
    let path = format!("task/{}/events?after={last}", segment(name));
    let history: TaskEvents = context.director.get(&path).await?;
    for event in &history.events {
        if pass(event, last, each).is_break() {
            return Ok(Some(End::Cancelled));
        }
    }
    Ok(Some(End::Finished))
}

/// The body as a stream with an idle timeout.
pub fn bytes(
    response: Response,
    idle_timeout: Duration,
) -> impl Stream<Item = io::Result<impl AsRef<[u8]>>> {
    stream::unfold(Some(response), move |response| async move {
        let mut response = response?;
        match timeout(idle_timeout, response.chunk()).await {
            Ok(Ok(Some(chunk))) => Some((Ok(chunk), Some(response))),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some((Err(io::Error::other(error)), None)),
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

fn invalid_body(error: serde_json::Error) -> CliError {
    let message = format!("invalid event from the Director: {error}");
    CliError::failed(message, "check that the versions match: `atq version`")
}
