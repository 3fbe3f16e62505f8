//! What a run says: figures, charts and the verdict.

use super::app::App;
use super::error::{ApiError, RequestError};
use super::media;
use super::path::TaskId;
use super::query::{Query, unexpected};
use super::results::over;
use super::task::find;
use super::view::judgement;
use atq_api_spec::error::Problem;
use atq_api_spec::report::Report;
use atq_report::{compare, page};
use atq_run::View;
use atq_task::event::Event;
use atq_task::spec::TaskName;
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};

const HTML: &str = "text/html";

/// What a report is sent as.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Html,
}

/// Words of `?format=`.
const FORMATS: [(&str, Format); 2] = [("json", Format::Json), ("html", Format::Html)];

/// Gives the figures of a task that is over, its verdict, and the comparison with another task.
///
/// Waits up to a minute while the figures of a task that has ended are worked out.
#[utoipa::path(
    get,
    path = "/task/{id}/report",
    operation_id = "getTaskReport",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("format" = Option<String>, Query, description = "`json` or `html`, whatever `Accept` says.", pattern = "^(json|html)?$", example = "html"),
        ("baseline" = Option<String>, Query, description = "Id of the task that this one is compared with.", pattern = "^([A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9])?$", example = "checkout-yesterday")
    ),
    responses(
        (status = 200, description = "The report: as JSON, or as one HTML page that needs nothing else when `Accept` names `text/html`, as browsers do.", content(
            (Report = "application/json"),
            (String = "text/html")
        )),
        (status = 400, description = "A parameter means nothing.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task (`task_not_found`), or there is no report of the baseline (`no_report`).", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The task is not over yet: `not_over`.", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The kept report cannot be read.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn report(
    State(app): State<App>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = Query::read(&uri, &["format", "baseline"])?;
    let format = query.word("format", &FORMATS)?;
    let baseline = query.text("baseline").map(task_name).transpose()?;
    let view = over(&app, find(&app, &name).await?).await?;
    let mut report = match kept(&app, &view).await? {
        Some(report) => report,
        None => without_figures(&app, &view).await?,
    };
    if let Some(baseline) = baseline {
        let before = find(&app, &baseline).await?;
        let other = kept(&app, &before).await?.ok_or(RequestError::NoReport {
            name: baseline.to_string(),
        })?;
        let mut comparison = compare::compare(&report, &other);
        let workers = |view: &View| view.spec.worker.replicas;
        comparison
            .differences
            .extend(workers_differ(workers(&view), workers(&before)));
        report.comparison = Some(comparison);
    }
    let html = media::accepts(&headers, HTML);
    let format = format.unwrap_or(if html { Format::Html } else { Format::Json });
    Ok(answer(format, report))
}

fn workers_differ(now: u32, before: u32) -> Option<String> {
    (now != before).then(|| format!("this run had {now} workers, the baseline {before}"))
}

fn task_name(text: &str) -> Result<TaskName, RequestError> {
    TaskName::parse(text).map_err(|_| unexpected("baseline", text, "the id of a task"))
}

async fn kept(app: &App, view: &View) -> Result<Option<Report>, ApiError> {
    let evidence = &app.orchestrator.shared().evidence;
    let report = evidence.report(&view.spec.name, &view.state.run).await;
    let report = report.map_err(|error| ApiError::Evidence(error.to_string()))?;
    Ok(report.map(|report| Report {
        judgement: view.state.judgement.as_ref().map(judgement::judgement),
        ..report
    }))
}

/// The report of a run whose figures were not kept: its verdict, and why there is no more.
async fn without_figures(app: &App, view: &View) -> Result<Report, ApiError> {
    let history = app.orchestrator.history(&view.spec.name).await?;
    let problem = history
        .into_iter()
        .rev()
        .find_map(|record| match record.event {
            Event::Reported { problem, .. } => problem,
            _ => None,
        });
    Ok(Report {
        task: view.spec.name.to_string(),
        run: view.state.run.clone(),
        judgement: view.state.judgement.as_ref().map(judgement::judgement),
        notes: problem
            .map(|problem| format!("there are no figures: {problem}"))
            .into_iter()
            .collect(),
        ..Report::default()
    })
}

fn answer(format: Format, report: Report) -> Response {
    let body = match format {
        Format::Json => Json(report).into_response(),
        Format::Html => (
            [(CONTENT_TYPE, "text/html; charset=utf-8")],
            page::html(&report),
        )
            .into_response(),
    };
    // Labels come from result files: nothing in the page may be taken for something else.
    (
        [(VARY, "accept"), (X_CONTENT_TYPE_OPTIONS, "nosniff")],
        body,
    )
        .into_response()
}
