//! Figures of a task while its test runs.

use super::app::App;
use super::error::{ApiError, RequestError};
use super::path::TaskId;
use super::query::Query;
use super::task::find;
use super::view::live as view;
use super::{report, sse};
use atq_access::Principal;
use atq_api_spec::error::Problem;
use atq_api_spec::live::{LiveFigures, LiveTask, StreamedLiveTask};
use atq_run::live_updates::{LiveUpdate, TaskUpdate};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::{StreamExt, stream};

/// Largest time in milliseconds that JSON represents exactly everywhere.
const MAX_TIME: u64 = 1 << 53;
/// Name of the events.
const EVENT: &str = "live";

/// Returns the figures of a task while its test runs, once or as a live stream.
///
/// The figures are computed from the result files while they grow, at most once a second. After the end of the run they
/// are those of the report, and `isFinal` is true.
///
/// With `Accept: text/event-stream`, there is an event `live` about once a second: `id` identifies the state, `data` is the
/// same JSON. The first event has the whole `figures.series`, unless `since` or `Last-Event-ID` says what the client has.
/// Later ones have the points that are new or have changed: `seriesFrom` is the start of the first one, and the client
/// replaces its points from there on. Without `seriesFrom`, all points are included. The stream ends after the final state.
/// If the task is deleted meanwhile, it ends with an event `deleted`.
#[utoipa::path(
    get,
    path = "/task/{id}/live",
    operation_id = "getTaskLive",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("since" = Option<u64>, Query, description = "Only points of `figures.series` that start at this time or later, in milliseconds since the Unix epoch; of a stream, in its first event.", minimum = 0, maximum = 9007199254740992u64, example = 1795255200000u64),
        ("Last-Event-ID" = Option<u64>, Header, description = "The `id` of the last received event of a stream: the points of `figures.series` that have not changed since then are left out. Takes precedence over `since`.", minimum = 0, nullable = false)
    ),
    responses(
        (status = 200, description = "The state and the figures; as a stream, one event a second.", content(
            (LiveTask = "application/json", example = json!({
                "task": "checkout-nightly", "run": "k3v9a2", "status": "started", "step": "running",
                "elapsedMs": 3000, "maxDurationMs": 3600000, "lagMs": 420,
                "workers": {"wanted": 2, "running": 1, "lost": [{"replica": 2, "reason": "its node is down"}]},
                "containers": [{"name": "worker.1", "node": "n1q2w3", "cpu": 0.8, "cpuLimit": 2.0, "memory": 402653184, "memoryLimit": 1073741824}],
                "criteria": [{"criterion": "errors < 1%", "holds": true, "seen": "0 %", "wanted": "< 1 %"}],
                "stopWhen": [{"condition": "errors > 20% for 30s", "unknown": "the run is shorter than the window", "hasEndedRun": false}],
                "figures": {
                    "at": 1795255203000u64, "newest": 1795255202980u64, "isSummarised": false,
                    "total": {"samples": 120, "errors": 0, "errorPercent": 0.0, "throughput": 40.1, "min": 8.0, "mean": 12.5, "p50": 12.0, "p90": 17.0, "p95": 19.0, "p99": 24.0, "max": 31.0, "receivedBytes": 61440, "sentBytes": 9600},
                    "last": {"samples": 120, "errors": 0, "errorPercent": 0.0, "throughput": 40.0, "min": 8.0, "mean": 12.5, "p50": 12.0, "p90": 17.0, "p95": 19.0, "p99": 24.0, "max": 31.0, "receivedBytes": 0, "sentBytes": 0, "missing": ["receivedBytes", "sentBytes"]},
                    "lastSeconds": 3, "active": 20.0,
                    "labels": [], "labelsLeftOut": 0, "workers": [], "workersLeftOut": 0,
                    "codes": [{"code": "200", "count": 120}],
                    "series": {"interval": 1.0, "points": [{"at": 1795255202000u64, "samples": 40, "errors": 0, "mean": 12.5, "p50": 12.0, "p90": 17.0, "p95": 19.0, "p99": 24.0, "max": 31.0, "receivedBytes": 20480, "active": 20.0}]},
                    "seriesFrom": 1795255202000u64,
                    "sources": [{"path": "master.1/results.jtl", "format": "jtl-csv", "state": "reading", "samples": 120, "newest": 1795255202980u64, "restarts": 0}],
                    "sourcesLeftOut": 0, "doubts": [], "notes": []
                },
                "isFinal": false
            })),
            (StreamedLiveTask = "text/event-stream", example = json!({
                "id": "1795255203000", "event": "live",
                "data": "{\"task\":\"checkout-nightly\",\"run\":\"k3v9a2\",\"status\":\"started\",\"step\":\"running\",\"elapsedMs\":3000,\"maxDurationMs\":3600000,\"lagMs\":420,\"workers\":{\"wanted\":2,\"running\":2},\"isFinal\":false}"
            }))
        )),
        (status = 400, description = "A parameter or `Last-Event-ID` is invalid.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The stored report cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`busy`: too many concurrent streams of events or logs; `Retry-After` contains the seconds to wait.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn live(
    State(app): State<App>,
    Extension(client): Extension<Principal>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = Query::read(&uri, &["since"])?;
    let since = query.number("since", 0..=MAX_TIME)?;
    let last = sse::last_event_id(&headers)?;
    let task = find(&app, &name).await?;
    if !sse::is_accepted(&headers) {
        let update = app.orchestrator.live_update(&name).await?;
        let update = update.ok_or_else(|| RequestError::NoTask(name.to_string()))?;
        let mut task = convert(&app, &update).await?;
        trim(&mut task, since);
        return Ok(Json(task).into_response());
    }
    let slot = app.slots.stream()?;
    let updates = app.orchestrator.follow_live(&name, &task.state.run);
    let position = Position { last, since };
    let of_events = app.clone();
    let events = stream::unfold((updates, position), move |(mut updates, mut position)| {
        let app = of_events.clone();
        async move {
            let event = match updates.next().await? {
                Ok(TaskUpdate::Live(update)) => position.event(&app, &update).await,
                Ok(TaskUpdate::Deleted) => Ok(sse::deleted()),
                Err(error) => Err(error.into()),
            };
            let event = event.inspect_err(|error| tracing::warn!(%error, "live stream aborted"));
            Some((event, (updates, position)))
        }
    });
    Ok(sse::respond(&app, client, slot, events))
}

/// The state of a task, of an ended one with the figures of its report.
async fn convert(app: &App, update: &LiveUpdate) -> Result<LiveTask, ApiError> {
    if !update.is_final() {
        return Ok(view::task(update, None));
    }
    let stored = report::stored(app, &update.view).await?;
    let problem = match &stored {
        // Its notes say that no result file was found.
        Some(report) if report.sources.is_empty() => report.notes.first().cloned(),
        Some(_) => None,
        None => report::problem(app, &update.view).await?,
    };
    let figures = stored.and_then(view::figures);
    Ok(view::task(update, Some(view::Outcome { figures, problem })))
}

/// Leaves out points that the client has.
fn trim(task: &mut LiveTask, from: Option<u64>) {
    if let Some(from) = from {
        task.figures = task
            .figures
            .take()
            .map(|figures: LiveFigures| figures.since(from));
    }
}

/// What a client of a stream has received.
struct Position {
    /// Id of the last event.
    last: Option<u64>,
    /// The time before which it has all points; for the first event.
    since: Option<u64>,
}

impl Position {
    /// The next event.
    async fn event(&mut self, app: &App, update: &LiveUpdate) -> Result<Event, ApiError> {
        let mut task = convert(app, update).await?;
        let since = self.since.take();
        let snapshot = update.snapshot.as_deref();
        let id = snapshot.map_or(update.view.now.0, |snapshot| snapshot.id);
        let last = self.last.replace(id);
        if !task.is_final {
            let unchanged =
                last.map(|last| snapshot.and_then(|snapshot| snapshot.changed_since(last)));
            trim(&mut task, unchanged.unwrap_or(since));
        }
        // Contains no line breaks: it is JSON.
        let data = serde_json::to_string(&task).unwrap_or_default();
        Ok(Event::default().id(id.to_string()).event(EVENT).data(data))
    }
}
