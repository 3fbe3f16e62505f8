//! The events of a task, each once, as they are recorded, also over a lost connection.

use crate::again::{Again, FOLLOWING};
use crate::context::Context;
use crate::director::segment;
use crate::fetch::cut;
use crate::trouble::Trouble;
use atq_api_spec::task::{Step, TaskEvent, TaskEvents};
use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt, stream};
use reqwest::{Method, Response, header};
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[cfg(test)]
mod tests;

const LAST_EVENT_ID: &str = "last-event-id";
/// The Director says something every 15 s, if only a comment.
const SILENCE: Duration = Duration::from_secs(60);

/// Why there are no more events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The task is over: the last event was given.
    Over,
    /// The task was removed.
    Deleted,
    /// `each` broke off.
    Left,
}

/// How a connection ended.
enum Ended {
    For(End),
    /// In good order, but it is not said that this was all.
    Closed,
}

/// Gives the events after the one with the number `after` to `each`, until the task is over, is removed,
/// or `each` breaks off.
///
/// # Errors
/// When the Director refuses, or stays away for five minutes; at the first try, for a moment.
pub async fn follow(
    context: &Context,
    name: &str,
    after: u64,
    mut each: impl FnMut(&TaskEvent) -> ControlFlow<()>,
) -> Result<End, Trouble> {
    let mut again = Again::within(FOLLOWING);
    let mut last = after;
    let mut response = open(context, name, last, false).await?;
    loop {
        let since = Instant::now();
        let ended = read(context, response, &mut last, |event| {
            again.reached();
            each(event)
        })
        .await;
        let ended = match ended {
            Ok(Ended::Closed) => rest(context, name, &mut last, &mut each).await,
            other => other,
        };
        let mut trouble = match ended {
            Ok(Ended::For(end)) => return Ok(end),
            Ok(Ended::Closed) => context
                .director
                .unreachable("it ended the stream before the task was over".to_owned()),
            Err(trouble) if is_gone(&trouble) => return Ok(End::Deleted),
            Err(trouble) => trouble,
        };
        again.broke_off(context.out, since, &trouble);
        response = loop {
            again.after(trouble).await?;
            match open(context, name, last, true).await {
                Ok(response) => break response,
                Err(other) if is_gone(&other) => return Ok(End::Deleted),
                Err(other) => trouble = other,
            }
        };
    }
}

fn is_gone(trouble: &Trouble) -> bool {
    trouble.is_no_task()
}

async fn open(
    context: &Context,
    name: &str,
    last: u64,
    is_again: bool,
) -> Result<Response, Trouble> {
    let request = context
        .director
        .request(Method::GET, &format!("task/{}/events", segment(name)))?
        .header(header::ACCEPT, "text/event-stream")
        .header(LAST_EVENT_ID, last);
    match is_again {
        true => context.director.send(request).await,
        false => context.director.send_again(request).await,
    }
}

/// Reads one stream to its end.
async fn read(
    context: &Context,
    response: Response,
    last: &mut u64,
    mut each: impl FnMut(&TaskEvent) -> ControlFlow<()>,
) -> Result<Ended, Trouble> {
    let mut events = Box::pin(bytes(response).eventsource());
    let mut is_over = false;
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| cut(&context.director, &error))?;
        if event.event == "deleted" {
            return Ok(Ended::For(End::Deleted));
        }
        let event = serde_json::from_str(&event.data).map_err(stranger)?;
        is_over = is_last(&event);
        if give(&event, last, &mut each).is_break() {
            return Ok(Ended::For(End::Left));
        }
    }
    Ok(match is_over {
        true => Ended::For(End::Over),
        false => Ended::Closed,
    })
}

/// Gives an event that was not given before.
fn give(
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

fn is_last(event: &TaskEvent) -> bool {
    event.step == Step::Done
}

/// A stream ends in good order when the task is over, and when the Director shuts down. In the first case
/// the rest is a list, which is complete because the task was over before it was asked for.
async fn rest(
    context: &Context,
    name: &str,
    last: &mut u64,
    each: &mut impl FnMut(&TaskEvent) -> ControlFlow<()>,
) -> Result<Ended, Trouble> {
    if context.director.task(name).await?.step != Step::Done {
        return Ok(Ended::Closed);
    }
    let path = format!("task/{}/events?after={last}", segment(name));
    let history: TaskEvents = context.director.get(&path).await?;
    for event in &history.events {
        if give(event, last, each).is_break() {
            return Ok(Ended::For(End::Left));
        }
    }
    Ok(Ended::For(End::Over))
}

/// The body, which breaks when it is silent for too long.
fn bytes(response: Response) -> impl Stream<Item = io::Result<impl AsRef<[u8]>>> {
    stream::unfold(Some(response), |response| async {
        let mut response = response?;
        match timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(chunk))) => Some((Ok(chunk), Some(response))),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some((Err(io::Error::other(error)), None)),
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

fn stranger(error: serde_json::Error) -> Trouble {
    let message = format!("the Director sends an event that cannot be read: {error}");
    Trouble::failed(message, "do the versions fit? `atq version` shows them")
}
