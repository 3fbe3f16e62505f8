//! Watching a test at a fake Director.
#![allow(clippy::unwrap_used)]

mod limits;
mod live;

use super::display::LiveDisplay;
use super::ending::EarlyEnd;
use super::interrupt::{Input, Interrupts};
use super::watch::{Role, Timeouts, WatchOptions, WatchResult, watch};
use crate::director::Director;
use crate::error::CliError;
use atq_api_spec::task::{LogEntry, Step, Task, TaskEvent, TaskStatus};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A task that finished.
pub fn task(name: &str) -> Task {
    let service = json!({
        "id": "", "alias": "a", "fileId": "", "image": "i", "replicas": 1, "tty": false, "args": [],
    });
    let task = json!({
        "id": name, "status": "finished", "master": service, "worker": service, "delay": 0, "step": "done",
        "timings": {}, "workers": [], "createdAt": "2026-01-31T12:00:00Z",
    });
    serde_json::from_value(task).unwrap()
}

/// The event of a started step.
pub fn event(id: u64, step: Step) -> TaskEvent {
    TaskEvent {
        id,
        at: "2026-01-31T12:00:00Z".to_owned(),
        event: "stepStarted".to_owned(),
        step,
        data: json!({ "step": step }),
    }
}

/// A line of the master with this second.
pub fn entry(second: u32, text: &str) -> LogEntry {
    LogEntry {
        at: format!("2026-01-31T12:00:0{second}.000000001Z"),
        service: "master".to_owned(),
        replica: 1,
        stream: "stdout".to_owned(),
        text: text.to_owned(),
    }
}

/// Script and records of the fake Director.
#[derive(Debug, Default)]
struct Canned {
    /// The current task; `None` responds with 404.
    task: Option<Task>,
    /// Event streams, one per connection: numbers and steps. The last one stays open.
    streams: Vec<Vec<(u64, Step)>>,
    /// Interrupts the other streams.
    cut: Arc<Notify>,
    /// `Last-Event-ID` of each connection.
    last_ids: Vec<String>,
    /// Lines of the master, one list per connection.
    lines: Vec<Vec<LogEntry>>,
    /// Number of requests for the state, and for the log.
    polls: u32,
    log_requests: u32,
    /// Responses to requests for the figures, one per connection.
    figures: Vec<live::Figures>,
    /// `Last-Event-ID` of each of them.
    figures_after: Vec<String>,
    /// Number of stop requests.
    stops: u32,
    /// Whether a stop request ends the task.
    stops_on_request: bool,
    /// Number of stop requests that fail.
    failing_stops: u32,
    /// The keys of the lease renewals.
    renewals: Vec<String>,
    /// Whether the state of the task needs a token.
    is_denied: bool,
}

type Shared = Arc<Mutex<Canned>>;

async fn show(State(canned): State<Shared>) -> Response {
    if canned.lock().unwrap().is_denied {
        let problem = json!({"error": "the token has expired", "code": "unauthenticated"});
        return (StatusCode::UNAUTHORIZED, Json(problem)).into_response();
    }
    canned.lock().unwrap().polls += 1;
    match &canned.lock().unwrap().task {
        Some(task) => Json(task).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({"error": "none", "code": "task_not_found"})),
        )
            .into_response(),
    }
}

async fn stop(State(canned): State<Shared>) -> StatusCode {
    let mut canned = canned.lock().unwrap();
    canned.stops += 1;
    if canned.stops <= canned.failing_stops {
        return StatusCode::BAD_GATEWAY;
    }
    if let (true, Some(task)) = (canned.stops_on_request, &mut canned.task) {
        (task.status, task.step) = (TaskStatus::Stopped, Step::Done);
    }
    StatusCode::ACCEPTED
}

/// The first two renewals fail.
async fn renew(State(canned): State<Shared>, headers: HeaderMap) -> StatusCode {
    let mut canned = canned.lock().unwrap();
    let key = headers
        .get("idempotency-key")
        .map(|key| key.to_str().unwrap());
    canned.renewals.push(key.unwrap_or_default().to_owned());
    match canned.renewals.len() {
        0..=2 => StatusCode::BAD_GATEWAY,
        _ => StatusCode::OK,
    }
}

fn wire(id: u64, step: Step) -> String {
    let data = serde_json::to_string(&event(id, step)).unwrap();
    format!("id: {id}\nevent: stepStarted\ndata: {data}\n\n")
}

/// All connections except the last one break in the middle of an event.
async fn events(State(canned): State<Shared>, headers: HeaderMap) -> Response {
    let mut canned = canned.lock().unwrap();
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap());
    canned.last_ids.push(last.unwrap_or_default().to_owned());
    if canned.streams.is_empty() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let now = canned.streams.remove(0);
    let text: String = now.iter().map(|(id, step)| wire(*id, *step)).collect();
    let text = stream::iter([Ok(Bytes::from(text))]);
    let body = match canned.streams.is_empty() {
        true => Body::from_stream(text.chain(stream::pending::<Result<Bytes, std::io::Error>>())),
        false => {
            let half = stream::iter([Ok(Bytes::from_static(b"id: 99\nevent: step"))]);
            let cut = canned.cut.clone();
            let broken = stream::once(async move {
                cut.notified().await;
                Err(std::io::Error::other("cut"))
            });
            Body::from_stream(text.chain(half).chain(broken))
        }
    };
    ([("content-type", "text/event-stream")], body).into_response()
}

async fn logs(State(canned): State<Shared>) -> String {
    let mut canned = canned.lock().unwrap();
    canned.log_requests += 1;
    let lines = match canned.lines.len() {
        0 => Vec::new(),
        _ => canned.lines.remove(0),
    };
    let json = |line| serde_json::to_string(line).unwrap() + "\n";
    lines.iter().map(json).collect()
}

/// Starts a fake Director.
async fn canned(canned: Canned) -> (Director, Shared) {
    let shared = Arc::new(Mutex::new(canned));
    let router = Router::new()
        .route("/api/task/{id}", get(show))
        .route("/api/task/{id}/stop", post(stop))
        .route("/api/task/{id}/lease", post(renew))
        .route("/api/task/{id}/events", get(events))
        .route("/api/task/{id}/live", get(live::figures))
        .route("/api/task/{id}/logs", get(logs))
        .with_state(shared.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let director = Director::at(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (director, shared)
}

fn at(step: Step) -> Task {
    Task {
        step,
        status: TaskStatus::Initializing,
        ..task("t")
    }
}

fn options() -> WatchOptions {
    WatchOptions {
        timeouts: Timeouts {
            poll_interval: Duration::from_millis(20),
            ..Timeouts::default()
        },
        ..WatchOptions::default()
    }
}

/// Watches in the background; also returns the displayed lines.
fn watching(
    director: Director,
    options: WatchOptions,
    mut interrupts: Interrupts,
) -> (
    tokio::task::JoinHandle<Result<WatchResult, CliError>>,
    UnboundedReceiver<String>,
) {
    let (sender, lines) = unbounded_channel();
    let display = LiveDisplay::captured(sender, "t");
    let watched =
        tokio::spawn(async move { watch(&director, "t", options, &mut interrupts, display).await });
    (watched, lines)
}

/// Waits for a line that contains `text`; adds all lines to `seen`.
async fn line(lines: &mut UnboundedReceiver<String>, text: &str, seen: &mut Vec<String>) {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), lines.recv()).await;
        let line = next.ok().flatten();
        let line = line.unwrap_or_else(|| panic!("no line with `{text}` after {seen:#?}"));
        seen.push(line.clone());
        if line.contains(text) {
            return;
        }
    }
}

#[tokio::test]
async fn a_lost_stream_resumes_at_its_position() {
    let (director, canned) = canned(Canned {
        task: Some(at(Step::Queued)),
        streams: vec![
            vec![(1, Step::Network), (3, Step::Discovery)],
            vec![(4, Step::Workers)],
            vec![(7, Step::Readiness)],
        ],
        ..Canned::default()
    })
    .await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(director, options(), interrupts);
    let mut seen = Vec::new();
    let cut = canned.lock().unwrap().cut.clone();
    line(&mut lines, "creates the network", &mut seen).await;
    line(&mut lines, "starts the discovery", &mut seen).await;
    cut.notify_one();
    line(&mut lines, "creates the workers", &mut seen).await;
    cut.notify_one();
    line(&mut lines, "accept connections", &mut seen).await;
    assert_eq!(canned.lock().unwrap().last_ids, ["", "3", "4"]);
    canned.lock().unwrap().task = Some(task("t"));
    let watched = watched.await.unwrap().unwrap();
    assert_eq!(watched.early_end, None);
    assert_eq!(watched.task.unwrap().status, TaskStatus::Finished);
    let again = seen.iter().filter(|line| line.contains("network"));
    assert_eq!(again.count(), 1, "{seen:#?}");
}

#[tokio::test]
async fn changes_of_the_queue_position_are_shown() {
    let queued = |place| Task {
        queue_position: Some(place),
        ..at(Step::Queued)
    };
    let (director, canned) = canned(Canned {
        task: Some(queued(2)),
        streams: vec![vec![]],
        ..Canned::default()
    })
    .await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(director, options(), interrupts);
    let mut seen = Vec::new();
    line(&mut lines, "2nd in the queue", &mut seen).await;
    canned.lock().unwrap().task = Some(queued(1));
    line(&mut lines, "1st in the queue", &mut seen).await;
    canned.lock().unwrap().task = Some(task("t"));
    watched.await.unwrap().unwrap();
    assert_eq!(seen.len(), 2, "shown once each: {seen:#?}");
}

#[tokio::test]
async fn each_line_of_the_master_is_shown_once_including_the_last_ones() {
    let (director, canned) = canned(Canned {
        task: Some(at(Step::Running)),
        streams: vec![vec![]],
        lines: vec![
            vec![entry(1, "one"), entry(2, "two")],
            vec![entry(1, "one"), entry(2, "two"), entry(3, "three")],
        ],
        ..Canned::default()
    })
    .await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let follow = WatchOptions {
        follow: true,
        ..options()
    };
    let (watched, mut lines) = watching(director, follow, interrupts);
    let mut seen = Vec::new();
    line(&mut lines, "three", &mut seen).await;
    canned.lock().unwrap().lines = vec![vec![entry(4, "four")]];
    line(&mut lines, "four", &mut seen).await;
    canned.lock().unwrap().task = Some(task("t"));
    watched.await.unwrap().unwrap();
    let lines: Vec<&str> = seen
        .iter()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, text)| text)
        .filter(|text| ["one", "two", "three", "four"].contains(text))
        .collect();
    assert_eq!(lines, ["one", "two", "three", "four"]);
}

/// Times increase per stream only, and lines may have the same time.
#[tokio::test]
async fn lines_with_equal_times_and_of_two_streams_are_shown_once() {
    let error = LogEntry {
        stream: "stderr".to_owned(),
        ..entry(3, "error")
    };
    let (director, canned) = canned(Canned {
        task: Some(at(Step::Running)),
        streams: vec![vec![]],
        lines: vec![
            vec![entry(1, "one"), error.clone()],
            vec![
                entry(1, "one"),
                entry(1, "same"),
                error.clone(),
                entry(2, "two"),
            ],
        ],
        ..Canned::default()
    })
    .await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let follow = WatchOptions {
        follow: true,
        ..options()
    };
    let (watched, mut lines) = watching(director, follow, interrupts);
    let mut seen = Vec::new();
    line(&mut lines, "two", &mut seen).await;
    canned.lock().unwrap().task = Some(task("t"));
    watched.await.unwrap().unwrap();
    let lines: Vec<&str> = seen
        .iter()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, text)| text)
        .filter(|text| ["one", "same", "error", "two"].contains(text))
        .collect();
    assert_eq!(lines, ["one", "error", "same", "two"]);
}

#[tokio::test]
async fn without_a_terminal_a_signal_stops_the_test() {
    for input in [Input::Interrupt, Input::Terminate] {
        let (director, canned) = canned(Canned {
            task: Some(at(Step::Running)),
            streams: vec![vec![]],
            stops_on_request: true,
            ..Canned::default()
        })
        .await;
        let (interrupts, sender) = Interrupts::new(false, drop);
        let (watched, mut lines) = watching(director, options(), interrupts);
        line(&mut lines, "the test runs", &mut Vec::new()).await;
        sender.send(input).await.unwrap();
        let watched = watched.await.unwrap().unwrap();
        assert_eq!(watched.early_end, Some(EarlyEnd::Interrupted));
        assert_eq!(watched.task.unwrap().status, TaskStatus::Stopped);
        assert_eq!(canned.lock().unwrap().stops, 1);
    }
}

#[tokio::test]
async fn a_failed_stop_request_is_retried() {
    let (director, canned) = canned(Canned {
        task: Some(at(Step::Running)),
        streams: vec![vec![]],
        stops_on_request: true,
        failing_stops: 2,
        ..Canned::default()
    })
    .await;
    let (interrupts, sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(director, options(), interrupts);
    line(&mut lines, "the test runs", &mut Vec::new()).await;
    sender.send(Input::Terminate).await.unwrap();
    let watched = watched.await.unwrap().unwrap();
    assert_eq!(watched.early_end, Some(EarlyEnd::Interrupted));
    assert_eq!(watched.task.unwrap().status, TaskStatus::Stopped);
    assert_eq!(canned.lock().unwrap().stops, 3);
}

#[tokio::test]
async fn on_a_terminal_the_answer_decides() {
    for (answer, early_end, stops) in [
        (Input::Answer("s\n".to_owned()), EarlyEnd::Interrupted, 1),
        (Input::Answer("l\n".to_owned()), EarlyEnd::Detached, 0),
        (Input::Interrupt, EarlyEnd::Detached, 0),
    ] {
        let (director, canned) = canned(Canned {
            task: Some(at(Step::Running)),
            streams: vec![vec![]],
            stops_on_request: true,
            ..Canned::default()
        })
        .await;
        let (interrupts, sender) = Interrupts::new(true, drop);
        let (watched, mut lines) = watching(director, options(), interrupts);
        sender.send(Input::Interrupt).await.unwrap();
        line(&mut lines, "[s/l]", &mut Vec::new()).await;
        sender.send(answer.clone()).await.unwrap();
        let watched = watched.await.unwrap().unwrap();
        assert_eq!(watched.early_end, Some(early_end), "{answer:?}");
        assert_eq!(canned.lock().unwrap().stops, stops, "{answer:?}");
    }
}

#[tokio::test]
async fn the_timeout_stops_the_test_and_a_test_that_does_not_stop_is_left_running() {
    for (stops_on_request, status) in [
        (true, TaskStatus::Stopped),
        (false, TaskStatus::Initializing),
    ] {
        let (director, canned) = canned(Canned {
            task: Some(at(Step::Running)),
            streams: vec![vec![]],
            stops_on_request,
            ..Canned::default()
        })
        .await;
        let mut options = WatchOptions {
            timeout: Some(Duration::from_millis(100)),
            ..options()
        };
        options.timeouts.stop = match stops_on_request {
            true => Duration::from_secs(60),
            false => Duration::from_millis(100),
        };
        let (interrupts, _sender) = Interrupts::new(false, drop);
        let (watched, _lines) = watching(director, options, interrupts);
        let watched = watched.await.unwrap().unwrap();
        assert_eq!(watched.early_end, Some(EarlyEnd::TimedOut));
        assert_eq!(watched.task.unwrap().status, status);
        assert_eq!(canned.lock().unwrap().stops, 1);
    }
}

#[tokio::test]
async fn a_removed_task_ends_the_watch() {
    let (director, canned) = canned(Canned {
        task: Some(at(Step::Running)),
        streams: vec![vec![]],
        ..Canned::default()
    })
    .await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(director, options(), interrupts);
    line(&mut lines, "the test runs", &mut Vec::new()).await;
    canned.lock().unwrap().task = None;
    let watched = watched.await.unwrap().unwrap();
    assert_eq!(watched.early_end, Some(EarlyEnd::Removed));
}

#[tokio::test]
async fn a_director_without_response_for_too_long_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut options = options();
    options.timeouts.unreachable = Duration::from_millis(100);
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(Director::at(&url).unwrap(), options, interrupts);
    line(&mut lines, "atq watch t", &mut Vec::new()).await;
    let error = watched.await.unwrap().unwrap_err();
    assert!(matches!(error, CliError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_token_that_expires_during_the_test_ends_the_watch_at_once() {
    let (director, canned) = canned(Canned {
        task: Some(at(Step::Running)),
        streams: vec![vec![]],
        ..Canned::default()
    })
    .await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(director, options(), interrupts);
    line(&mut lines, "the test runs", &mut Vec::new()).await;
    canned.lock().unwrap().is_denied = true;
    line(&mut lines, "atq watch t", &mut Vec::new()).await;
    let error = watched.await.unwrap().unwrap_err();
    assert_eq!(error.exit(), crate::exit::Exit::AccessDenied);
    assert_eq!(canned.lock().unwrap().stops, 0);
}
