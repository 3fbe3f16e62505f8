//! Reports of runs: figures, charts and the verdict.

use super::app::App;
use super::error::{ApiError, RequestError};
use super::media;
use super::path::TaskId;
use super::query::{Query, unexpected};
use super::results::ended;
use super::task::find;
use super::view::verdict;
use atq_api_spec::error::Problem;
use atq_api_spec::report::Report;
use atq_report::{compare, page};
use atq_run::View;
use atq_task::event::Event;
use atq_task::spec::TaskName;
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, VARY};
use axum::http::{HeaderMap, Uri};
use axum::response::{Html, IntoResponse, Response};

const HTML: &str = "text/html";

/// Format of a report.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Html,
}

/// Values of `?format=`.
const FORMATS: [(&str, Format); 2] = [("json", Format::Json), ("html", Format::Html)];

/// Returns the figures of an ended task, its verdict, and a comparison with another task.
///
/// A request right after the end of the task blocks until the figures are computed (at most one minute).
#[utoipa::path(
    get,
    path = "/task/{id}/report",
    operation_id = "getTaskReport",
    tag = "task",
    params(
        ("id" = String, Path, description = "Id of the task: its name.", example = "checkout-nightly"),
        ("format" = Option<String>, Query, description = "`json` or `html`; takes precedence over `Accept`.", pattern = "^(json|html)?$", example = "html"),
        ("baseline" = Option<String>, Query, description = "Id of the task to compare with.", pattern = "^([A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9])?$", example = "checkout-yesterday")
    ),
    responses(
        (status = 200, description = "The report: as JSON, or as one self-contained HTML page if `Accept` contains `text/html`, as sent by browsers.", content(
            (Report = "application/json"),
            (String = "text/html")
        )),
        (status = 400, description = "A parameter is invalid.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task (`task_not_found`), or the baseline has no report (`no_report`).", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The task has not ended: `not_over`.", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The stored report cannot be read.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn report(
    State(app): State<App>,
    TaskId(name): TaskId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = Query::read(&uri, &["format", "baseline"])?;
    let format = query.choice("format", &FORMATS)?;
    let baseline = query.text("baseline").map(task_name).transpose()?;
    let view = ended(&app, find(&app, &name).await?).await?;
    let mut report = match stored(&app, &view).await? {
        Some(report) => report,
        None => without_figures(&app, &view).await?,
    };
    if let Some(baseline) = baseline {
        let before = find(&app, &baseline).await?;
        let other = stored(&app, &before).await?;
        let other = other.ok_or_else(|| RequestError::NoReport(baseline.to_string()))?;
        let mut comparison = compare::compare(&report, &other);
        let workers = |view: &View| view.spec.worker.replicas;
        comparison
            .differences
            .extend(workers_differ(workers(&view), workers(&before)));
        report.comparison = Some(comparison);
    }
    let html = media::accepts(&headers, HTML);
    let format = format.unwrap_or(if html { Format::Html } else { Format::Json });
    Ok(respond(format, report))
}

fn workers_differ(now: u32, before: u32) -> Option<String> {
    (now != before).then(|| format!("this run had {now} workers, the baseline {before}"))
}

fn task_name(text: &str) -> Result<TaskName, RequestError> {
    TaskName::parse(text).map_err(|_| unexpected("baseline", text, "the id of a task"))
}

/// The stored report of a run with its verdict, if there is one.
pub(super) async fn stored(app: &App, view: &View) -> Result<Option<Report>, ApiError> {
    let evidence = &app.orchestrator.shared().evidence;
    let report = evidence.report(&view.spec.name, &view.state.run).await;
    let report = report.map_err(|error| ApiError::Evidence(error.to_string()))?;
    Ok(report.map(|report| Report {
        judgement: view.state.judgement.as_ref().map(verdict::judgement),
        ..report
    }))
}

/// The report of a run without stored figures: its verdict, and the reason why there are no figures.
async fn without_figures(app: &App, view: &View) -> Result<Report, ApiError> {
    let problem = problem(app, view).await?;
    Ok(Report {
        task: view.spec.name.to_string(),
        run: view.state.run.clone(),
        judgement: view.state.judgement.as_ref().map(verdict::judgement),
        notes: problem.into_iter().collect(),
        ..Report::default()
    })
}

/// The reason why a run has no figures.
pub(super) async fn problem(app: &App, view: &View) -> Result<Option<String>, ApiError> {
    let history = app.orchestrator.history(&view.spec.name).await?;
    let mut records = history.into_iter().rev();
    let problem = records.find_map(|record| match record.event {
        Event::Reported { problem, .. } => problem,
        _ => None,
    });
    Ok(problem.map(|problem| format!("there are no figures: {problem}")))
}

fn respond(format: Format, report: Report) -> Response {
    let body = match format {
        Format::Json => Json(report).into_response(),
        Format::Html => {
            // Only a header can forbid that other pages embed this one.
            let policy = format!("{}; frame-ancestors 'none'", page::policy());
            (
                [(CONTENT_SECURITY_POLICY, policy)],
                Html(page::html(&report)),
            )
                .into_response()
        }
    };
    ([(VARY, "accept")], body).into_response()
}
