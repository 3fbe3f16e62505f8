#![allow(clippy::unwrap_used)]
use super::*;
use crate::tests::{Answer, Script, director, task};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

fn event(id: u64, step: &str) -> Value {
    json!({"id": id, "at": "2026-01-31T12:00:00Z", "event": "stepStarted", "step": step, "data": {}})
}

fn sse(events: &[Value]) -> String {
    let texts = events.iter().map(|event| {
        let id = &event["id"];
        format!("id: {id}\nevent: stepStarted\ndata: {event}\n\n: alive\n\n")
    });
    format!("retry: 2000\n\n{}", texts.collect::<String>())
}

struct Followed {
    ended: Result<End, CliError>,
    ids: Vec<u64>,
    /// `Last-Event-ID` of each stream.
    after: Vec<String>,
}

/// Follows a Director with this script of streams; afterwards the task has this step and these events.
async fn followed(after: u64, script: Script, step: &str, list: Vec<Value>) -> Followed {
    let received = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&received);
    let events = move |headers: HeaderMap| async move {
        let is_stream = headers["accept"] == "text/event-stream";
        if !is_stream {
            return axum::response::IntoResponse::into_response(Json(
                json!({"id": "load", "events": list}),
            ));
        }
        let last = headers[LAST_EVENT_ID].to_str().unwrap().to_owned();
        log.lock().unwrap().push(last);
        script.next()
    };
    let task = task(json!({"step": step}));
    let routes = Router::new()
        .route("/task/load/events", get(events))
        .route("/task/load", get(|| async { Json(task) }));
    let context = director(routes).await;
    let mut ids = Vec::new();
    let ended = follow(&context, "load", after, |event| {
        ids.push(event.id);
        ControlFlow::Continue(())
    })
    .await;
    let after = received.lock().unwrap().clone();
    Followed { ended, ids, after }
}

#[tokio::test]
async fn a_lost_stream_resumes_at_its_position() {
    let all = [
        event(1, "queued"),
        event(2, "network"),
        event(3, "running"),
        event(4, "cleanup"),
        event(5, "done"),
    ];
    let half = sse(&all[..2]) + &sse(&all[2..3])[..40];
    let script = Script::new([
        Answer::Broken(half),
        Answer::Refused(503),
        // Closed properly, like at a shutdown of the Director.
        Answer::Whole(sse(&all[2..3])),
        // Ignores `Last-Event-ID`.
        Answer::Whole(sse(&all)),
    ]);
    let result = followed(0, script, "running", vec![]).await;
    assert_eq!(result.ended.unwrap(), End::Finished);
    assert_eq!(result.ids, [1, 2, 3, 4, 5]);
    assert_eq!(result.after, ["0", "2", "2", "3"]);
}

#[tokio::test]
async fn a_stream_without_further_events_ends_with_the_task() {
    let script = Script::new([Answer::Whole(sse(&[]))]);
    let result = followed(5, script, "done", vec![event(6, "done")]).await;
    assert_eq!(result.ended.unwrap(), End::Finished);
    assert_eq!(result.ids, [6]);
    assert_eq!(result.after, ["5"]);
}

#[tokio::test]
async fn a_removed_task_ends_the_stream() {
    let text = sse(&[event(1, "queued")]) + "event: deleted\ndata: {}\n\n";
    let result = followed(0, Script::new([Answer::Whole(text)]), "queued", vec![]).await;
    assert_eq!(result.ended.unwrap(), End::Deleted);
    assert_eq!(result.ids, [1]);
    let script = Script::new([
        Answer::Broken(sse(&[event(1, "queued")])),
        Answer::Refused(404),
    ]);
    let result = followed(0, script, "queued", vec![]).await;
    assert_eq!(result.ended.unwrap(), End::Deleted);
}

#[tokio::test]
async fn a_missing_task_is_an_error() {
    let result = followed(0, Script::new([Answer::Refused(404)]), "done", vec![]).await;
    assert_eq!(result.ended.unwrap_err().to_string(), "there is none");
}

#[tokio::test]
async fn the_caller_can_stop() {
    let text = sse(&[event(1, "queued"), event(2, "done")]);
    let context = director(Router::new().route("/task/load/events", get(|| async { text }))).await;
    let mut count = 0;
    let left = follow(&context, "load", 0, |_| {
        count += 1;
        ControlFlow::Break(())
    });
    assert_eq!(left.await.unwrap(), End::Cancelled);
    assert_eq!(count, 1);
}
