//! Streams of a running task: its events, its state, and the lines of its master. Each stream resumes at its position after
//! a lost connection, until the receiver is closed.

use crate::director::Director;
use crate::error::CliError;
use crate::events;
use crate::logs::position::LogPosition;
use crate::path::segment;
use crate::retry::is_temporary;
use atq_api_spec::live::LiveTask;
use atq_api_spec::task::{LogEntry, Step, Task, TaskEvent};
use atq_retry::{Backoff, Pauses};
use eventsource_stream::{Event, Eventsource};
use futures_util::{StreamExt, TryStreamExt};
use reqwest::{Method, Response, header};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;
use tokio_util::io::StreamReader;

/// The pauses before a reconnect.
pub(super) const BACKOFF: Pauses = Pauses {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(5),
};
/// An event stream without data for this long is considered lost: the Director sends a comment every 15 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// An update about a task.
#[derive(Debug)]
pub enum Update {
    /// An event of the history.
    Event(Box<TaskEvent>),
    /// The current state.
    Task(Box<Task>),
    /// The current figures, without those over time.
    Figures(Box<LiveTask>),
    /// The connection of the figures is lost.
    FiguresLost,
    /// The Director has no figures of a running test, or this program cannot read them for this reason.
    NoFigures(Option<String>),
    /// The task does not exist any more.
    Removed,
    /// The Director does not respond.
    Unreachable(String),
    /// The Director no longer accepts the token.
    Denied(CliError),
    /// The result of a stop request.
    StopResult(Result<(), CliError>),
}

/// The receiver is closed, or the stream is complete.
pub(super) struct Finished;

pub(super) async fn send(updates: &Sender<Update>, update: Update) -> Result<(), Finished> {
    updates.send(update).await.map_err(|_| Finished)
}

/// Sends the state of the task at each interval, until the task is done.
pub async fn state(
    director: Director,
    name: String,
    poll_interval: Duration,
    updates: Sender<Update>,
) {
    loop {
        match poll(&director, &name, &updates).await {
            Ok(Some(Step::Done)) | Err(Finished) => return,
            Ok(_) => sleep(poll_interval).await,
        }
    }
}

/// Sends the state of the task once; returns its step.
async fn poll(
    director: &Director,
    name: &str,
    updates: &Sender<Update>,
) -> Result<Option<Step>, Finished> {
    match director.task(name).await {
        Ok(task) => {
            let step = task.step;
            send(updates, Update::Task(Box::new(task))).await?;
            Ok(Some(step))
        }
        Err(error) if error.is_task_not_found() => {
            send(updates, Update::Removed).await?;
            Err(Finished)
        }
        Err(error @ CliError::Denied { .. }) => {
            send(updates, Update::Denied(error)).await?;
            Err(Finished)
        }
        Err(error) => {
            send(updates, Update::Unreachable(error.to_string())).await?;
            Ok(None)
        }
    }
}

/// Sends the events of the task, each once, until the task is done.
pub async fn history(director: Director, name: String, updates: Sender<Update>) {
    let mut last = String::new();
    let mut backoff = Backoff::new(BACKOFF);
    loop {
        match open_events(&director, &name, &last).await {
            Ok(response) => {
                let before = last.clone();
                if read_events(response, &mut last, &updates).await.is_err() {
                    return;
                }
                if before != last {
                    backoff.reset();
                }
            }
            Err(error) if error.is_task_not_found() => {
                drop(send(&updates, Update::Removed).await);
                return;
            }
            Err(error) => drop(send(&updates, Update::Unreachable(error.to_string())).await),
        }
        // The stream also ends with the task.
        match poll(&director, &name, &updates).await {
            Ok(Some(Step::Done)) | Err(Finished) => return,
            Ok(_) => sleep(backoff.next_pause()).await,
        }
    }
}

async fn open_events(director: &Director, name: &str, last: &str) -> Result<Response, CliError> {
    let mut request = events::request(director, name)?;
    if !last.is_empty() {
        request = request.header(events::LAST_EVENT_ID, last);
    }
    director.send(request).await
}

/// Sends the events of one connection, until it is lost or ends.
async fn read_events(
    response: Response,
    last: &mut String,
    updates: &Sender<Update>,
) -> Result<(), Finished> {
    let mut events = Box::pin(events::bytes(response, IDLE_TIMEOUT).eventsource());
    while let Some(Ok(event)) = events.next().await {
        if let Some(update) = parse_event(&event) {
            send(updates, update).await?;
        }
        // Set after sending: an event that was not sent is requested again.
        if !event.id.is_empty() {
            *last = event.id;
        }
    }
    Ok(())
}

fn parse_event(event: &Event) -> Option<Update> {
    if event.event == "deleted" {
        return Some(Update::Removed);
    }
    // Unknown events of later versions are ignored: the state has the same information.
    let event = serde_json::from_str(&event.data).ok()?;
    Some(Update::Event(Box::new(event)))
}

/// Sends the lines of the master, each once, until it has ended.
pub async fn lines(director: Director, name: String, lines: Sender<LogEntry>) {
    let mut position = LogPosition::default();
    let mut backoff = Backoff::new(BACKOFF);
    loop {
        let is_complete = match open_lines(&director, &name).await {
            Ok(response) => {
                let before = position.clone();
                let body = StreamReader::new(response.bytes_stream().map_err(io::Error::other));
                let read = read_lines(body, &mut position, &lines).await;
                if position != before {
                    backoff.reset();
                }
                match read {
                    Ok(is_complete) => is_complete,
                    Err(Finished) => return,
                }
            }
            Err(error) => !is_temporary(&error),
        };
        // An interrupted stream is incomplete, even if the master has ended meanwhile.
        match director.task(&name).await {
            Ok(task) if is_complete && task.step > Step::Running => return,
            Err(error) if error.is_task_not_found() => return,
            _ => sleep(backoff.next_pause()).await,
        }
        if lines.is_closed() {
            return;
        }
    }
}

async fn open_lines(director: &Director, name: &str) -> Result<Response, CliError> {
    let path = format!("task/{}/logs?service=master&follow=1", segment(name));
    let request = director
        .request(Method::GET, &path)?
        .header(header::ACCEPT, "application/x-ndjson");
    director.send(request).await
}

/// Sends the new lines of one connection. Returns whether the stream ended properly.
async fn read_lines(
    body: impl AsyncBufRead + Unpin,
    position: &mut LogPosition,
    lines: &Sender<LogEntry>,
) -> Result<bool, Finished> {
    let mut replay = position.replay();
    let mut texts = body.lines();
    loop {
        let text = match texts.next_line().await {
            Ok(Some(text)) => text,
            ended => return Ok(ended.is_ok()),
        };
        if let Ok(entry) = serde_json::from_str(&text)
            && replay.is_new(&entry)
        {
            position.record(&entry);
            lines.send(entry).await.map_err(|_| Finished)?;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::tests::entry;
    use futures_util::stream;
    use tokio::sync::mpsc::channel;

    #[tokio::test]
    async fn lines_may_arrive_in_pieces() {
        let text: String = (1..=3)
            .map(|second| serde_json::to_string(&entry(second, "x")).unwrap() + "\n")
            .collect();
        let pieces = text.as_bytes().chunks(7).map(io::Result::Ok);
        let body = StreamReader::new(stream::iter(pieces));
        let (sender, mut receiver) = channel(8);
        let mut position = LogPosition::default();
        let is_complete = read_lines(body, &mut position, &sender).await;
        assert!(matches!(is_complete, Ok(true)));
        drop(sender);
        for second in 1..=3 {
            assert_eq!(receiver.recv().await, Some(entry(second, "x")));
        }
        assert_eq!(receiver.recv().await, None);
    }
}
