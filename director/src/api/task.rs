//! Tasks.

use super::access::{ChangeOf, Routine};
use super::app::App;
use super::detached::to_completion;
use super::error::{ApiError, RequestError, task_status};
use super::path::TaskId;
use super::query::{Query, unexpected};
use super::{body, json, terms, view};
use atq_access::Principal;
use atq_api_spec::error::Problem;
use atq_api_spec::task::{
    Lease, Task, TaskAccepted, TaskList, TaskPayload, TaskRefused, TaskStatus,
};
use atq_run::submit::{SubmitContext, SubmitError, Submitted};
use atq_run::{Listed, View};
use atq_task::spec::TaskName;
use atq_task::state;
use atq_task::terms::Terms;
use atq_task::timestamp::Timestamp;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use std::cmp::Reverse;
use std::future::ready;

/// Maximum size of a definition in bytes.
const MAX_DEFINITION: usize = 1 << 20;
/// Default number of tasks per page.
const DEFAULT_PAGE: u32 = 100;
/// Maximum number of tasks per page.
const MAX_PAGE: u32 = 1000;

/// Values of `?status=`.
const STATUSES: [(&str, TaskStatus); 5] = [
    ("initializing", TaskStatus::Initializing),
    ("started", TaskStatus::Started),
    ("stopped", TaskStatus::Stopped),
    ("finished", TaskStatus::Finished),
    ("errored", TaskStatus::Errored),
];

/// Starts a task, or returns all faults of its definition.
///
/// Returns at once; the task runs in the background. Repeating the same definition while the task is active is safe:
/// it returns the current status. `startedBy` then shows whether the run was started with the same `Idempotency-Key`.
/// With that key, the repetition is also safe after the end of the task.
#[utoipa::path(
    put,
    path = "/task",
    operation_id = "createTask",
    tag = "task",
    params(
        ("timeout" = Option<String>, Query, description = "Timeout of the run, including its time in the queue; then it ends as `errored` with the code `timeout`. From 1 s to 30 days, for example `90s` or `1h30m`; a bare number is seconds. Not part of the definition.", pattern = "^([1-9][0-9]{0,5}s?|[1-9][0-9]{0,3}m|[1-9][0-9]{0,1}h([1-9][0-9]{0,3}m)?|([1-9]|1[0-9]|2[0-9])d)$", example = "30m"),
        ("lease" = Option<String>, Query, description = "Lease of the run: unless the client keeps renewing it within this time, the run ends as `errored` with the code `lease_expired`. From 1 s to a day. Not part of the definition.", pattern = "^([1-9][0-9]{0,3}s?|[1-9][0-9]{0,2}m|([1-9]|1[0-9]|2[0-3])h)$", example = "60s"),
        ("Idempotency-Key" = Option<String>, Header, description = "Identifies one invocation of a client, for example a UUID; 1 to 255 visible ASCII characters. Retries use the same key.", pattern = "^([!#-~]{1,255}|\"[!#-~]{1,253}\")$", example = "7f3c1d2e-5b1a-4c9e-9f6e-0a2b4c6d8e0f")
    ),
    request_body(
        content((TaskPayload = "application/json", example = json!({
            "name": "checkout-nightly",
            "master": {
                "alias": "Coordinator", "image": "atq-jmeter:5.6.3", "environment": ["MODE=master", "TEST_PATH=/atq/data/checkout.jmx"],
                "fileid": "0f343b0931126a20f133d67c2b018a3b", "stopGracePeriod": 30, "placement": {"constraints": ["node.role==manager"]}
            },
            "worker": {
                "alias": "Minions", "image": "atq-jmeter:5.6.3", "environment": ["MODE=node"], "replicas": 2, "stopGracePeriod": 30,
                "readiness": {"tcp": 1099, "timeout": 60},
                "resources": {"limits": {"cpus": 2, "memory": "1GiB"}, "reservations": {"cpus": 0.25, "memory": "384m"}},
                "placement": {"constraints": ["node.platform.os==linux"], "maxReplicasPerNode": 4},
                "labels": {"team": "checkout"}
            },
            "waitCommand": {"command": "echo \"$WORKER_CSV_VIPS\" | tr , '\\n' | wc -l", "expectedResult": "2", "timeout": 30},
            "maxDuration": 3600,
            "onWorkerLoss": "abort",
            "exclusive": "shop-staging",
            "criteria": ["errors < 1%"],
            "delay": 2
        }))),
        description = "The definition, at most 1 MiB. Parsed as JSON if the content type is missing, `application/json`, any `+json`, or `application/x-www-form-urlencoded` (the default of curl's `-d`)."
    ),
    responses(
        (status = 200, description = "Accepted, or already active with the same definition.", content(
            (TaskAccepted = "application/json", example = json!({"id": "checkout-nightly", "status": "initializing"})),
            (TaskAccepted = "application/atq.task+json")
        ), links(
            ("getTask" = (operation_id = "getTask", parameters(("id" = "$response.body#/id")), description = "Show its state.")),
            ("stopTask" = (operation_id = "stopTask", parameters(("id" = "$response.body#/id")), description = "Stop it early.")),
            ("deleteTask" = (operation_id = "deleteTask", parameters(("id" = "$response.body#/id")), description = "Remove it with all its objects.")),
            ("getTaskEvents" = (operation_id = "getTaskEvents", parameters(("id" = "$response.body#/id")), description = "Show its events so far.")),
            ("getTaskLogs" = (operation_id = "getTaskLogs", parameters(("id" = "$response.body#/id")), description = "Show the logs of its containers.")),
            ("getTaskManifest" = (operation_id = "getTaskManifest", parameters(("id" = "$response.body#/id")), description = "Show its manifest.")),
            ("getTaskReport" = (operation_id = "getTaskReport", parameters(("id" = "$response.body#/id")), description = "Show its figures, once it has ended.")),
            ("getTaskResults" = (operation_id = "getTaskResults", parameters(("id" = "$response.body#/id")), description = "Download its results, once it has ended."))
        )),
        (status = 400, description = "The body is not JSON or has a duplicate field; a parameter or the key is invalid.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 408, description = "The body was not received within a minute.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 409, description = "The name is taken: `code` is `task_differs` (another definition is active) or `task_ended` (the task has ended; DELETE it or choose another name).", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 413, description = "The body is larger than 1 MiB.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 415, description = "The content type is not JSON.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 417, description = "The definition has faults; the response contains all of them with their fields.", content(
            (TaskRefused = "application/json", example = json!({
                "id": "checkout-nightly", "status": "errored", "error": "`worker.image`: is missing; it is required",
                "errors": [{"field": "worker.image", "message": "is missing; it is required"}],
                "code": "definition_faulty", "type": "about:blank", "title": "Expectation Failed", "detail": "`worker.image`: is missing; it is required"
            })),
            (TaskRefused = "application/atq.task+json")
        )),
        (status = 507, description = "`disk_full`: not enough free disk space for another task. Nothing is stored.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 503, description = "Docker cannot be reached, is not part of a swarm or not one of its managers. Nothing is stored.", content((Problem = "application/json"), (Problem = "application/atq.task+json")))
    )
)]
pub async fn create(
    State(app): State<App>,
    Extension(client): Extension<Principal>,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    let (parts, content) = request.into_parts();
    body::check_json(&parts.headers)?;
    let terms = terms::read(&parts.uri, &parts.headers, &client)?;
    let key = terms.key.clone();
    let bytes = body::read(&parts.headers, content, MAX_DEFINITION).await?;
    let payload = json::parse(&bytes).map_err(RequestError::BadJson)?;
    let view = to_completion(submit(app, payload, terms)).await??;
    let id = view.spec.name.to_string();
    let accepted = TaskAccepted {
        id: id.clone(),
        status: view::status(&view),
        started_by: key.map(|key| view::started_by(&view, &key)),
    };
    Ok((Extension(ChangeOf(id)), Json(accepted)))
}

async fn submit(app: App, payload: Value, terms: Terms) -> Result<Box<View>, ApiError> {
    let config = &app.config;
    let images = |image: &str| {
        let required = config.images.required_variables(image);
        required.map_err(|fault| fault.to_string())
    };
    let context = SubmitContext {
        max_replicas: config.limits.replicas.into(),
        max_stop_grace: config.limits.stop_grace_period,
        bundles: app.bundles(),
        delivery: config.delivery,
        images: &images,
    };
    match app.orchestrator.submit(&payload, &context, terms).await {
        Ok(Submitted::Accepted(view) | Submitted::Existing(view)) => Ok(view),
        Err(SubmitError::Faulty { faults }) => Err(ApiError::Refused {
            id: usable_name(&payload),
            faults,
        }),
        Err(error) => Err(error.into()),
    }
}

/// The name in a definition; empty if it is invalid.
fn usable_name(payload: &Value) -> String {
    let name = payload.get("name").or_else(|| payload.get("id"));
    let name = name.and_then(Value::as_str).map(TaskName::parse);
    name.and_then(Result::ok)
        .map_or_else(String::new, |name| name.to_string())
}

/// Shows a task.
#[utoipa::path(
    get,
    path = "/task/{id}",
    operation_id = "getTask",
    tag = "task",
    params(("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly")),
    responses(
        (status = 200, description = "The task.", content((Task = "application/json"), (Task = "application/atq.task+json"))),
        (status = 404, description = "There is no such task.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 500, description = "The task could not be created: it failed before its master ran. `failure` contains the reason.", content((Task = "application/json"), (Task = "application/atq.task+json")))
    )
)]
pub async fn inspect(
    State(app): State<App>,
    TaskId(name): TaskId,
) -> Result<(StatusCode, Json<Task>), ApiError> {
    let view = find(&app, &name).await?;
    let task = view::task(&view);
    let status = task_status(task.status, view.state.started_at.is_some());
    Ok((status, Json(task)))
}

/// Deletes a task with all its objects.
///
/// An active task is stopped first. Blocks up to 90 s until the clean-up is complete; afterwards the clean-up
/// continues, and a repeated request waits for it again.
#[utoipa::path(
    delete,
    path = "/task/{id}",
    operation_id = "deleteTask",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("force" = Option<bool>, Query, description = "Whether grace periods are skipped: containers are killed at once. Also accelerates a deletion in progress."),
        ("Idempotency-Key" = Option<String>, Header, description = "With a key, the task is deleted only if it has ended or was started with this key.", pattern = "^([!#-~]{1,255}|\"[!#-~]{1,253}\")$")
    ),
    responses(
        (status = 204, description = "Containers, services, network, volumes and record are removed."),
        (status = 400, description = "A parameter or the key is invalid.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 409, description = "`started_by_other`: the run is active and was started with another key.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 404, description = "There is no such task.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 500, description = "Clean-up is not complete; the response lists what is left and why.", content((Problem = "application/json"), (Problem = "application/atq.task+json")))
    )
)]
pub async fn delete(
    State(app): State<App>,
    Extension(client): Extension<Principal>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let options = terms::stop_options(&uri, &headers, &client)?;
    to_completion(async move { app.orchestrator.delete_with(&name, &options).await }).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the tasks, newest first.
#[utoipa::path(
    get,
    path = "/task",
    operation_id = "listTasks",
    tag = "task",
    params(
        ("status" = Option<TaskStatus>, Query, description = "Only tasks with this status."),
        ("limit" = Option<u32>, Query, description = "Maximum number of tasks in the response.", minimum = 1, maximum = 1000, example = 100),
        ("after" = Option<String>, Query, description = "Only tasks after this one: `next` of the previous page, or the id of a task.", pattern = "^(([0-9]+[.])?[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9])?$")
    ),
    responses(
        (status = 200, description = "A page of tasks.", body = TaskList),
        (status = 400, description = "A parameter is invalid.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn list(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let query = Query::read(&uri, &["status", "limit", "after"])?;
    let status = query.choice("status", &STATUSES)?;
    let limit = query.number("limit", 1..=MAX_PAGE)?.unwrap_or(DEFAULT_PAGE);
    let after = match query.text("after") {
        Some(text) => Some(parse_position(&app, text).await?),
        None => None,
    };
    let wanted = move |state: &state::State, now| {
        status.is_none_or(|status| view::status_of(state, now) == status)
    };
    let mut page = app.orchestrator.list(wanted).await?;
    if let Some(after) = after {
        page.retain(|task| Position::of(task) > after);
    }
    let is_last = page.len() <= limit as usize;
    page.truncate(limit as usize);
    let next = page.last().filter(|_| !is_last);
    let next = next.map(|last| Position::of(last).to_string());
    Ok(streamed(app, page, next))
}

/// Streams a page task by task, so that memory does not grow with the definitions.
fn streamed(app: App, page: Vec<Listed>, next: Option<String>) -> Response {
    let empty = TaskList {
        tasks: Vec::new(),
        next,
    };
    let frame = serde_json::to_string(&empty).unwrap_or_default();
    let (head, tail) = frame.split_once("[]").unwrap_or_default();
    let (head, tail) = (format!("{head}["), format!("]{tail}"));
    let tasks = stream::iter(page)
        .then(move |listed| {
            let orchestrator = app.orchestrator.clone();
            async move { orchestrator.get_brief(&listed.name).await }
        })
        // Tasks that are deleted or damaged meanwhile are omitted.
        .filter_map(|found| ready(found.ok().flatten()))
        .enumerate()
        .map(|(index, view)| {
            let comma = if index == 0 { "" } else { "," };
            let task = serde_json::to_string(&view::task(&view));
            task.map(|task| format!("{comma}{task}"))
        });
    let whole = stream::iter([Ok(head)])
        .chain(tasks)
        .chain(stream::iter([Ok(tail)]));
    let kind = [(CONTENT_TYPE, "application/json")];
    (kind, Body::from_stream(whole)).into_response()
}

/// The position of a task in the list: newest first, then by name. Remains valid after the deletion of the task, so
/// that a script can delete page by page.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Position(Reverse<Timestamp>, TaskName);

impl Position {
    fn of(task: &Listed) -> Self {
        Self(Reverse(task.created_at), task.name.clone())
    }

    /// `<milliseconds>.<name>`; no name has a dot.
    fn parse(text: &str) -> Option<Self> {
        let (millis, name) = text.split_once('.')?;
        let created_at = Timestamp(millis.parse().ok()?);
        Some(Self(Reverse(created_at), TaskName::parse(name).ok()?))
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.0.0, self.1)
    }
}

async fn parse_position(app: &App, text: &str) -> Result<Position, ApiError> {
    if let Some(position) = Position::parse(text) {
        return Ok(position);
    }
    let found = match TaskName::parse(text) {
        Ok(name) => app.orchestrator.get(&name).await?,
        Err(_) => None,
    };
    let expected = "`next` of the previous page, or the id of a task";
    let found = found.ok_or_else(|| unexpected("after", text, expected))?;
    Ok(Position(Reverse(found.state.created_at), found.spec.name))
}

/// Stops a task early.
///
/// The task ends as `stopped`; its logs are kept. Stopping an ended task has no effect. With `force`, its containers
/// are killed without their grace period, even if an earlier stop without `force` is in progress.
#[utoipa::path(
    post,
    path = "/task/{id}/stop",
    operation_id = "stopTask",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("force" = Option<bool>, Query, description = "Whether grace periods are skipped: containers are killed at once. Also accelerates a stop in progress."),
        ("Idempotency-Key" = Option<String>, Header, description = "With a key, the run is stopped only if it was started with this key.", pattern = "^([!#-~]{1,255}|\"[!#-~]{1,253}\")$")
    ),
    responses(
        (status = 202, description = "The task, which is being stopped.", body = Task),
        (status = 400, description = "A parameter or the key is invalid.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`started_by_other`: the run was started with another key.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn stop(
    State(app): State<App>,
    Extension(client): Extension<Principal>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Task>), ApiError> {
    let options = terms::stop_options(&uri, &headers, &client)?;
    let stop = async move { app.orchestrator.stop_with(&name, &options).await };
    let view = to_completion(stop).await??;
    Ok((StatusCode::ACCEPTED, Json(view::task(&view))))
}

/// Renews the lease of a run.
///
/// The lease restarts. A run with an expired lease ends as `errored` with the code `lease_expired`. While the
/// Director is down, the lease does not expire: it restarts with the Director.
#[utoipa::path(
    post,
    path = "/task/{id}/lease",
    operation_id = "renewLease",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("Idempotency-Key" = Option<String>, Header, description = "The key with which the run was started; with another key, the lease is not renewed.", pattern = "^([!#-~]{1,255}|\"[!#-~]{1,253}\")$")
    ),
    responses(
        (status = 200, description = "The renewed lease.", body = Lease),
        (status = 400, description = "The key is invalid.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`code` is `no_lease` (the run was started without one) or `started_by_other` (with another key).", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn renew_lease(
    State(app): State<App>,
    TaskId(name): TaskId,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let key = terms::key(&headers)?;
    let view = app.orchestrator.renew_lease(&name, key.as_ref()).await?;
    let lease = view::lease(&view).unwrap_or_default();
    Ok((Extension(Routine), Json(lease)))
}

/// The task with this name.
pub async fn find(app: &App, name: &TaskName) -> Result<View, ApiError> {
    let view = app.orchestrator.get(name).await?;
    Ok(view.ok_or_else(|| RequestError::NoTask(name.to_string()))?)
}
