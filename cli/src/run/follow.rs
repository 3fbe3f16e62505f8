//! What is heard of a task while it runs: its events, its state, the lines of its master. Each goes on
//! where it was after a lost connection, until nobody listens any more.

use crate::director::{Director, segment};
use crate::trouble::Trouble;
use atq_api_spec::task::{LogEntry, Step, Task, TaskEvent};
use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt, stream};
use reqwest::{Method, Response, header};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

/// The first pause before a connection is tried again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest.
const LAST_PAUSE: Duration = Duration::from_secs(5);
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

/// Pauses between tries.
struct Pauses(Duration);

impl Pauses {
    fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(LAST_PAUSE);
    }
}

async fn say(signs: &Sender<Sign>, sign: Sign) -> Result<(), Over> {
    signs.send(sign).await.map_err(|_| Over)
}

/// Whether that means that there is no such task.
fn is_missing(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Rejected { status: 404, .. })
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
    let mut pauses = Pauses::new();
    loop {
        match open_events(&director, &name, &last).await {
            Ok(response) => {
                let before = last.clone();
                if hear_events(response, &mut last, &signs).await.is_err() {
                    return;
                }
                if before != last {
                    pauses = Pauses::new();
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
            Ok(_) => pauses.wait().await,
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
    let mut heard = Heard::default();
    let mut pauses = Pauses::new();
    loop {
        if let Ok(response) = open_lines(&director, &name).await {
            match hear_lines(response, &mut heard, &lines).await {
                Ok(true) => pauses = Pauses::new(),
                Ok(false) => {}
                Err(Over) => return,
            }
        }
        // The lines also end when a Director is shut down.
        match director.task(&name).await {
            Ok(task) if task.step > Step::Running => return,
            Err(trouble) if is_missing(&trouble) => return,
            _ => pauses.wait().await,
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

/// When each replica's last line was written: a new connection tells all of them again.
#[derive(Debug, Default)]
struct Heard(BTreeMap<u32, OffsetDateTime>);

impl Heard {
    /// Whether this line is new.
    fn is_new(&self, entry: &LogEntry) -> bool {
        let (Some(last), Ok(at)) = (
            self.0.get(&entry.replica),
            OffsetDateTime::parse(&entry.at, &Rfc3339),
        ) else {
            return true;
        };
        at > *last
    }

    fn note(&mut self, entry: &LogEntry) {
        if let Ok(at) = OffsetDateTime::parse(&entry.at, &Rfc3339) {
            self.0.insert(entry.replica, at);
        }
    }
}

/// Says the lines of one connection; gives whether there were any.
async fn hear_lines(
    response: Response,
    heard: &mut Heard,
    lines: &Sender<LogEntry>,
) -> Result<bool, Over> {
    // Lines of one instant are all new, or none of them is.
    let before = Heard(heard.0.clone());
    let mut bytes = response.bytes_stream();
    let mut rest = Vec::new();
    let mut any = false;
    while let Some(Ok(piece)) = bytes.next().await {
        rest.extend_from_slice(&piece);
        for entry in entries(&mut rest) {
            if before.is_new(&entry) {
                any = true;
                heard.note(&entry);
                lines.send(entry).await.map_err(|_| Over)?;
            }
        }
    }
    Ok(any)
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

    #[test]
    fn what_was_heard_is_not_new() {
        let mut heard = Heard::default();
        assert!(heard.is_new(&entry(2, "a")));
        heard.note(&entry(2, "a"));
        assert!(!heard.is_new(&entry(1, "before")));
        assert!(!heard.is_new(&entry(2, "a")));
        assert!(heard.is_new(&entry(3, "c")));
        let other = LogEntry {
            replica: 2,
            ..entry(1, "of another")
        };
        assert!(heard.is_new(&other));
    }
}
