//! What is heard of a task while it runs: its events, its state, the lines of its master. Each goes on
//! where it was after a lost connection, until nobody listens any more.

use crate::again::may_pass;
use crate::director::{Director, segment};
use crate::logs::seen::Seen;
use crate::trouble::Trouble;
use atq_api_spec::task::{LogEntry, Step, Task, TaskEvent};
use atq_patience::{Backoff, Pauses};
use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt, stream};
use reqwest::{Method, Response, header};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

/// The pauses before a connection is tried again.
const PAUSES: Pauses = Pauses {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(5),
};
/// A stream of events that is silent for so long is dead: the Director sends a sign every 15 s.
const DEAD: Duration = Duration::from_secs(45);

/// Something that was heard.
#[derive(Debug)]
pub enum Sign {
    /// An event of its history.
    Event(Box<TaskEvent>),
    /// Its present state.
    Task(Box<Task>),
    /// There is no such task any more.
    Removed,
    /// The Director does not answer.
    Silence(String),
    /// It was asked to stop: what became of that.
    Asked(Result<(), Trouble>),
}

/// Nobody listens any more, or there is nothing more to be heard.
struct Over;

async fn say(signs: &Sender<Sign>, sign: Sign) -> Result<(), Over> {
    signs.send(sign).await.map_err(|_| Over)
}

/// Whether that means that there is no such task.
fn is_missing(trouble: &Trouble) -> bool {
    trouble.is_no_task()
}

/// Says the task's state each `pause`, until it is at its end.
pub async fn state(director: Director, name: String, pause: Duration, signs: Sender<Sign>) {
    loop {
        match look(&director, &name, &signs).await {
            Ok(Some(Step::Done)) | Err(Over) => return,
            Ok(_) => sleep(pause).await,
        }
    }
}

/// Says the task's state once; gives its step.
async fn look(director: &Director, name: &str, signs: &Sender<Sign>) -> Result<Option<Step>, Over> {
    match director.task(name).await {
        Ok(task) => {
            let step = task.step;
            say(signs, Sign::Task(Box::new(task))).await?;
            Ok(Some(step))
        }
        Err(trouble) if is_missing(&trouble) => {
            say(signs, Sign::Removed).await?;
            Err(Over)
        }
        Err(trouble) => {
            say(signs, Sign::Silence(trouble.to_string())).await?;
            Ok(None)
        }
    }
}

/// Says the task's events, each once, until it is at its end.
pub async fn events(director: Director, name: String, signs: Sender<Sign>) {
    let mut last = String::new();
    let mut backoff = Backoff::new(PAUSES);
    loop {
        match open_events(&director, &name, &last).await {
            Ok(response) => {
                let before = last.clone();
                if hear_events(response, &mut last, &signs).await.is_err() {
                    return;
                }
                if before != last {
                    backoff.reset();
                }
            }
            Err(trouble) if is_missing(&trouble) => {
                drop(say(&signs, Sign::Removed).await);
                return;
            }
            Err(trouble) => drop(say(&signs, Sign::Silence(trouble.to_string())).await),
        }
        // The stream also ends when the task does.
        match look(&director, &name, &signs).await {
            Ok(Some(Step::Done)) | Err(Over) => return,
            Ok(_) => sleep(backoff.next_pause()).await,
        }
    }
}

async fn open_events(director: &Director, name: &str, last: &str) -> Result<Response, Trouble> {
    let path = format!("task/{}/events", segment(name));
    let mut request = director
        .request(Method::GET, &path)?
        .header(header::ACCEPT, "text/event-stream");
    if !last.is_empty() {
        request = request.header("Last-Event-ID", last);
    }
    director.send(request).await
}

/// Says what comes on one connection, until it is lost or at its end.
async fn hear_events(
    response: Response,
    last: &mut String,
    signs: &Sender<Sign>,
) -> Result<(), Over> {
    let bytes = while_alive(response.bytes_stream()).boxed();
    let mut events = bytes.eventsource();
    while let Some(Ok(event)) = events.next().await {
        if let Some(sign) = sign(&event) {
            say(signs, sign).await?;
        }
        // Only now: what was not said is wanted again.
        if !event.id.is_empty() {
            *last = event.id;
        }
    }
    Ok(())
}

fn sign(event: &Event) -> Option<Sign> {
    if event.event == "deleted" {
        return Some(Sign::Removed);
    }
    // Events of a later version that cannot be read are passed over: the state says the same.
    let event = serde_json::from_str(&event.data).ok()?;
    Some(Sign::Event(Box::new(event)))
}

/// The stream, which ends when nothing comes for too long.
fn while_alive<T>(stream: impl Stream<Item = T> + Unpin) -> impl Stream<Item = T> {
    stream::unfold(stream, |mut stream| async {
        let next = timeout(DEAD, stream.next()).await.ok().flatten()?;
        Some((next, stream))
    })
}

/// Says the lines of the master, each once, until it has ended.
pub async fn lines(director: Director, name: String, lines: Sender<LogEntry>) {
    let mut seen = Seen::default();
    let mut backoff = Backoff::new(PAUSES);
    loop {
        let is_whole = match open_lines(&director, &name).await {
            Ok(response) => match hear_lines(response, &mut seen, &lines).await {
                Ok(heard) => {
                    if heard.any {
                        backoff.reset();
                    }
                    heard.is_whole
                }
                Err(Over) => return,
            },
            Err(trouble) => !may_pass(&trouble),
        };
        // What breaks off, as when a Director is shut down, was not all, even if the master has ended since.
        match director.task(&name).await {
            Ok(task) if is_whole && task.step > Step::Running => return,
            Err(trouble) if is_missing(&trouble) => return,
            _ => sleep(backoff.next_pause()).await,
        }
        if lines.is_closed() {
            return;
        }
    }
}

async fn open_lines(director: &Director, name: &str) -> Result<Response, Trouble> {
    let path = format!("task/{}/logs?service=master&follow=1", segment(name));
    let request = director
        .request(Method::GET, &path)?
        .header(header::ACCEPT, "application/x-ndjson");
    director.send(request).await
}

/// What came on one connection.
struct HeardLines {
    /// Whether there were new lines.
    any: bool,
    /// Whether it ended in good order.
    is_whole: bool,
}

/// Says the lines of one connection.
async fn hear_lines(
    response: Response,
    seen: &mut Seen,
    lines: &Sender<LogEntry>,
) -> Result<HeardLines, Over> {
    let mut replay = seen.replay();
    let mut bytes = response.bytes_stream();
    let mut rest = Vec::new();
    let (mut any, mut is_whole) = (false, true);
    while let Some(piece) = bytes.next().await {
        let Ok(piece) = piece else {
            is_whole = false;
            break;
        };
        rest.extend_from_slice(&piece);
        for entry in entries(&mut rest) {
            if replay.is_new(&entry) {
                any = true;
                seen.note(&entry);
                lines.send(entry).await.map_err(|_| Over)?;
            }
        }
    }
    Ok(HeardLines { any, is_whole })
}

/// Takes whole lines out of the buffer.
fn entries(buffer: &mut Vec<u8>) -> Vec<LogEntry> {
    let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else {
        return Vec::new();
    };
    let rest = buffer.split_off(end + 1);
    let whole = std::mem::replace(buffer, rest);
    whole
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::tests::entry;

    #[test]
    fn lines_may_come_in_pieces() {
        let text: String = (1..=3)
            .map(|second| serde_json::to_string(&entry(second, "x")).unwrap() + "\n")
            .collect();
        let mut buffer = Vec::new();
        let mut all = Vec::new();
        for piece in text.as_bytes().chunks(7) {
            buffer.extend_from_slice(piece);
            all.extend(entries(&mut buffer));
        }
        assert_eq!(all, [entry(1, "x"), entry(2, "x"), entry(3, "x")]);
        assert!(buffer.is_empty());
    }
}
