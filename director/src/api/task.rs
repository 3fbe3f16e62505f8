//! Tasks.

use super::app::App;
use super::detached::to_its_end;
use super::error::{ApiError, RequestError, task_status};
use super::path::TaskId;
use super::query::{Query, unexpected};
use super::{body, json, terms, view};
use atq_api_spec::error::Problem;
use atq_api_spec::task::{
    Lease, Task, TaskAccepted, TaskList, TaskPayload, TaskRefused, TaskStatus,
};
use atq_run::submit::{Known, SubmitError, Submitted};
use atq_run::{Listed, View};
use atq_task::spec::TaskName;
use atq_task::state;
use atq_task::terms::Terms;
use atq_task::timestamp::Timestamp;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use std::future::ready;

/// Largest definition in bytes.
const MAX_DEFINITION: usize = 1 << 20;
/// Tasks on a page, unless asked otherwise.
const PAGE: u32 = 100;
/// Most tasks on a page.
const MAX_PAGE: u32 = 1000;

/// Words of `?status=`.
const STATUSES: [(&str, TaskStatus); 5] = [
    ("initializing", TaskStatus::Initializing),
    ("started", TaskStatus::Started),
    ("stopped", TaskStatus::Stopped),
    ("finished", TaskStatus::Finished),
    ("errored", TaskStatus::Errored),
];

/// Starts a task, or says everything that is wrong with its definition.
///
/// Answers at once; the work goes on in the background. The same definition once more, while the task
/// is under way, is a safe repetition: it gets the present status. `startedBy` then tells whether the run was
/// started with the same `Idempotency-Key`. With that key the repetition is safe also when the task is over.
#[utoipa::path(
    put,
    path = "/task",
    operation_id = "createTask",
    tag = "task",
    params(
        ("timeout" = Option<String>, Query, description = "The run is ended as `errored` with the code `timeout` when it is not over after this time, the queue included: from 1 s to 30 days, for example `90s` or `1h30m`; a bare number is seconds. Not part of the definition.", pattern = "^([1-9][0-9]{0,5}s?|[1-9][0-9]{0,3}m|[1-9][0-9]{0,1}h([1-9][0-9]{0,3}m)?|([1-9]|1[0-9]|2[0-9])d)$", example = "30m"),
        ("lease" = Option<String>, Query, description = "The run is ended as `errored` with the code `lease_expired` unless the client renews the lease within this time, again and again: from 1 s to a day. Not part of the definition.", pattern = "^([1-9][0-9]{0,3}s?|[1-9][0-9]{0,2}m|([1-9]|1[0-9]|2[0-3])h)$", example = "60s"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names one invocation of a client, for example by a UUID; 1 to 255 visible ASCII characters. A request that is repeated carries the same key.", pattern = "^([!#-~]{1,255}|\"[!#-~]{1,253}\")$", example = "7f3c1d2e-5b1a-4c9e-9f6e-0a2b4c6d8e0f")
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
        description = "The definition, of at most 1 MiB. Read as JSON when the content type is missing, `application/json`, any `+json`, or `application/x-www-form-urlencoded` (what curl's `-d` sends unless told otherwise)."
    ),
    responses(
        (status = 200, description = "Accepted, or under way already with this very definition.", content(
            (TaskAccepted = "application/json", example = json!({"id": "checkout-nightly", "status": "initializing"})),
            (TaskAccepted = "application/atq.task+json")
        ), links(
            ("getTask" = (operation_id = "getTask", parameters(("id" = "$response.body#/id")), description = "How it stands.")),
            ("stopTask" = (operation_id = "stopTask", parameters(("id" = "$response.body#/id")), description = "End it early.")),
            ("deleteTask" = (operation_id = "deleteTask", parameters(("id" = "$response.body#/id")), description = "Remove it with everything that belongs to it.")),
            ("getTaskEvents" = (operation_id = "getTaskEvents", parameters(("id" = "$response.body#/id")), description = "What happened so far.")),
            ("getTaskLogs" = (operation_id = "getTaskLogs", parameters(("id" = "$response.body#/id")), description = "What its containers wrote.")),
            ("getTaskManifest" = (operation_id = "getTaskManifest", parameters(("id" = "$response.body#/id")), description = "What it runs on.")),
            ("getTaskReport" = (operation_id = "getTaskReport", parameters(("id" = "$response.body#/id")), description = "Its figures, once it is over.")),
            ("getTaskResults" = (operation_id = "getTaskResults", parameters(("id" = "$response.body#/id")), description = "What its containers left, once it is over."))
        )),
        (status = 400, description = "The body is not JSON, or has a field twice; a parameter or the key means nothing.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 408, description = "The body did not arrive within a minute.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 409, description = "The name is taken: `code` is `task_differs` (another definition is under way) or `task_ended` (the task is over; DELETE it or choose another name).", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 413, description = "The body is larger than 1 MiB.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 415, description = "The content type is not JSON's.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 417, description = "The definition has faults: all of them, each with its field.", content(
            (TaskRefused = "application/json", example = json!({
                "id": "checkout-nightly", "status": "errored", "error": "`worker.image`: is missing; it is required",
                "errors": [{"field": "worker.image", "message": "is missing; it is required"}],
                "code": "definition_faulty", "type": "about:blank", "title": "Expectation Failed", "detail": "`worker.image`: is missing; it is required"
            })),
            (TaskRefused = "application/atq.task+json")
        )),
        (status = 507, description = "`disk_full`: the Director's disk has no room for another task. Nothing is stored.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 503, description = "Docker cannot be reached, is not part of a swarm or not one of its managers. Nothing is stored.", content((Problem = "application/json"), (Problem = "application/atq.task+json")))
    )
)]
pub async fn create(
    State(app): State<App>,
    request: Request,
) -> Result<Json<TaskAccepted>, ApiError> {
    let (parts, content) = request.into_parts();
    body::check_json(&parts.headers)?;
    let terms = terms::read(&parts.uri, &parts.headers)?;
    let key = terms.key.clone();
    let bytes = body::read(&parts.headers, content, MAX_DEFINITION).await?;
    let payload = json::parse(&bytes).map_err(|reason| RequestError::BadJson { reason })?;
    let view = to_its_end(submit(app, payload, terms)).await??;
    Ok(Json(TaskAccepted {
        id: view.spec.name.to_string(),
        status: view::status(&view),
        started_by: key.map(|key| view::started_by(&view, &key)),
    }))
}

async fn submit(app: App, payload: Value, terms: Terms) -> Result<Box<View>, ApiError> {
    let config = &app.config;
    let images = |image: &str| {
        config
            .images
            .check(image, |_| true)
            .map_err(|fault| fault.to_string())?;
        let variables = config
            .images
            .allowed(image)
            .map(|rule| rule.variables.as_slice());
        let required = variables
            .unwrap_or_default()
            .iter()
            .filter(|variable| variable.required);
        Ok(required.map(|variable| variable.name.clone()).collect())
    };
    let around = Known {
        max_replicas: config.limits.replicas.into(),
        max_stop_grace: config.limits.stop_grace_period,
        bundles: app.bundles(),
        delivery: config.delivery,
        images: &images,
    };
    match app.orchestrator.submit(&payload, &around, terms).await {
        Ok(Submitted::Accepted(view) | Submitted::Present(view)) => Ok(view),
        Err(SubmitError::Faulty { faults }) => Err(ApiError::Refused {
            id: usable_name(&payload),
            faults,
        }),
        Err(error) => Err(error.into()),
    }
}

/// The name in a definition; empty when it cannot be one.
fn usable_name(payload: &Value) -> String {
    let name = payload
        .get("name")
        .or_else(|| payload.get("id"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    TaskName::parse(name)
        .map(|name| name.to_string())
        .unwrap_or_default()
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
        (status = 500, description = "The task could not be created: it failed before its master ran. `failure` says why.", content((Task = "application/json"), (Task = "application/atq.task+json")))
    )
)]
pub async fn inspect(
    State(app): State<App>,
    TaskId(name): TaskId,
) -> Result<(StatusCode, Json<Task>), ApiError> {
    let view = find(&app, &name).await?;
    let task = view::task(&view);
    Ok((
        task_status(task.status, view.state.started_at.is_some()),
        Json(task),
    ))
}

/// Deletes a task with everything that belongs to it.
///
/// A task that is under way is ended first. Waits for the clean-up up to 90 s; when it is not over by
/// then it goes on, and a repeated request waits for it again.
#[utoipa::path(
    delete,
    path = "/task/{id}",
    operation_id = "deleteTask",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("force" = Option<bool>, Query, description = "Whether grace periods are skipped: containers are killed at once. Also speeds up a deletion that is under way."),
        ("Idempotency-Key" = Option<String>, Header, description = "With a key only a task that is over, or was started with it, is deleted.", pattern = "^([!#-~]{1,255}|\"[!#-~]{1,253}\")$")
    ),
    responses(
        (status = 204, description = "Containers, services, network, volumes and record are gone."),
        (status = 400, description = "A parameter means nothing, or the key cannot be one.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 409, description = "`started_by_other`: the run is under way, and was started with another key.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 404, description = "There is no such task.", content((Problem = "application/json"), (Problem = "application/atq.task+json"))),
        (status = 500, description = "Clean-up is not over; the answer says what is left and why.", content((Problem = "application/json"), (Problem = "application/atq.task+json")))
    )
)]
pub async fn delete(
    State(app): State<App>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let ending = terms::ending(&uri, &headers)?;
    to_its_end(async move { app.orchestrator.delete_by(&name, &ending).await }).await??;
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
        ("limit" = Option<u32>, Query, description = "Most tasks of the answer.", minimum = 1, maximum = 1000, example = 100),
        ("after" = Option<String>, Query, description = "Only tasks after this one: `next` of the page before, or the id of a task.", pattern = "^(([0-9]+[.])?[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9])?$")
    ),
    responses(
        (status = 200, description = "A page of tasks.", body = TaskList),
        (status = 400, description = "A parameter means nothing.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn list(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let query = Query::read(&uri, &["status", "limit", "after"])?;
    let status = query.word("status", &STATUSES)?;
    let limit = query.number("limit", 1..=MAX_PAGE)?.unwrap_or(PAGE);
    let after = match query.text("after") {
        Some(text) => Some(place(&app, text).await?),
        None => None,
    };
    let wanted = move |state: &state::State, now| {
        status.is_none_or(|status| view::status_of(state, now) == status)
    };
    let mut page = app.orchestrator.list(wanted).await?;
    page.retain(|task| after.as_ref().is_none_or(|after| Place::of(task) > *after));
    let is_last = page.len() <= limit as usize;
    page.truncate(limit as usize);
    let next = page.last().filter(|_| !is_last);
    let next = next.map(|last| Place::of(last).to_string());
    Ok(streamed(app, page, next))
}

/// A page, one task after the other: all at once would take as much memory as their definitions.
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
        // One that was deleted or found damaged meanwhile is left out.
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

/// The place of a task in the list: newest first, then by name. Stays right when the task is deleted,
/// so that a script may delete page after page.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place(std::cmp::Reverse<Timestamp>, TaskName);

impl Place {
    fn of(task: &Listed) -> Self {
        Self(std::cmp::Reverse(task.created_at), task.name.clone())
    }

    /// `<milliseconds>.<name>`; no name has a dot.
    fn parse(text: &str) -> Option<Self> {
        let (millis, name) = text.split_once('.')?;
        Some(Self(
            std::cmp::Reverse(Timestamp(millis.parse().ok()?)),
            TaskName::parse(name).ok()?,
        ))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.0.0, self.1)
    }
}

async fn place(app: &App, text: &str) -> Result<Place, ApiError> {
    if let Some(place) = Place::parse(text) {
        return Ok(place);
    }
    let found = match TaskName::parse(text) {
        Ok(name) => app.orchestrator.get(&name).await?,
        Err(_) => None,
    };
    let unknown = || {
        unexpected(
            "after",
            text,
            "`next` of the page before, or the id of a task",
        )
    };
    let found = found.ok_or_else(unknown)?;
    Ok(Place(
        std::cmp::Reverse(found.state.created_at),
        found.spec.name,
    ))
}

/// Asks a task to end early.
///
/// It ends `stopped`, its logs are kept. Asking a task that has ended changes nothing. With `force` its containers are
/// killed without their grace period, also when an earlier request, without `force`, is under way.
#[utoipa::path(
    post,
    path = "/task/{id}/stop",
    operation_id = "stopTask",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("force" = Option<bool>, Query, description = "Whether grace periods are skipped: containers are killed at once. Also speeds up an end that is under way."),
        ("Idempotency-Key" = Option<String>, Header, description = "With a key only a run that was started with it is stopped.", pattern = "^([!#-~]{1,255}|\"[!#-~]{1,253}\")$")
    ),
    responses(
        (status = 202, description = "The task, which will end.", body = Task),
        (status = 400, description = "A parameter means nothing, or the key cannot be one.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`started_by_other`: the run was started with another key.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn stop(
    State(app): State<App>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Task>), ApiError> {
    let ending = terms::ending(&uri, &headers)?;
    let stop = async move { app.orchestrator.stop_by(&name, &ending).await };
    let view = to_its_end(stop).await??;
    Ok((StatusCode::ACCEPTED, Json(view::task(&view))))
}

/// Renews the lease of a run that was started with one.
///
/// The lease begins anew. A run whose lease expires is ended as `errored` with the code `lease_expired`. While the
/// Director is down the lease does not run: it begins anew when the Director does.
#[utoipa::path(
    post,
    path = "/task/{id}/lease",
    operation_id = "renewLease",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("Idempotency-Key" = Option<String>, Header, description = "The key with which the run was started; with another one the lease is not renewed.", pattern = "^([!#-~]{1,255}|\"[!#-~]{1,253}\")$")
    ),
    responses(
        (status = 200, description = "The lease as it is now.", body = Lease),
        (status = 400, description = "The key cannot be one.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`code` is `no_lease` (the run was started without one) or `started_by_other` (with another key).", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn renew_lease(
    State(app): State<App>,
    TaskId(name): TaskId,
    headers: HeaderMap,
) -> Result<Json<Lease>, ApiError> {
    let key = terms::key(&headers)?;
    let view = app.orchestrator.renew_lease(&name, key.as_ref()).await?;
    Ok(Json(view::lease(&view).unwrap_or_default()))
}

/// The task with this name.
pub async fn find(app: &App, name: &TaskName) -> Result<View, ApiError> {
    let view = app.orchestrator.get(name).await?;
    Ok(view.ok_or_else(|| RequestError::NoTask {
        name: name.to_string(),
    })?)
}
