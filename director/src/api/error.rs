//! From what went wrong to what is answered. The only place that knows the status codes of errors:
//! one exhaustive match for each kind of error, so that a new one cannot be forgotten.

use atq_api_spec::MEDIA_PROBLEM;
use atq_api_spec::error::Problem;
use atq_api_spec::task::{FieldError, TaskRefused, TaskStatus};
use atq_bundle_store::BundleError;
use atq_engine::EngineError;
use atq_run::bundles::RemoveError;
use atq_run::logs::LogError;
use atq_run::submit::SubmitError;
use atq_run::wishes::WishError;
use atq_store::StoreError;
use atq_task::spec::{Fault, shorten};
use axum::Json;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::io::ErrorKind;
use std::net::IpAddr;
use thiserror::Error;

/// What is wrong with a request, whatever it asks for.
#[derive(Debug, Error)]
pub enum RequestError {
    /// Nothing is at this path.
    #[error("there is nothing at `{path}`\n(GET /swagger-ui/ shows what there is)")]
    UnknownPath {
        /// The path.
        path: String,
    },
    /// Something is at this path, but not for this method.
    #[error("`{method}` cannot be used here\n(the header `allow` names what can)")]
    Method {
        /// The method.
        method: String,
    },
    /// The path names no task.
    #[error("there is no task `{name}`")]
    NoTask {
        /// What it names.
        name: String,
    },
    /// The run is not over yet.
    #[error(
        "the run of the task `{name}` is not over: its step is `{step}`\n(its results are kept when its containers have ended; GET /task/{name} shows its state)"
    )]
    NotOver {
        /// The task.
        name: String,
        /// Its step.
        step: &'static str,
    },
    /// The containers left nothing.
    #[error(
        "there are no such results of the task `{name}`\n(what is to be kept must be in `/atq/results` of a worker or of the master when its container ends)"
    )]
    NoResults {
        /// The task.
        name: String,
    },
    /// A task to compare with has no report.
    #[error(
        "there is no report of the task `{name}` to compare with\n(only a task that is over and left result files has one)"
    )]
    NoReport {
        /// The task.
        name: String,
    },
    /// The path names no bundle.
    #[error("there is no bundle `{id}`\n(GET /databind/list names all)")]
    NoBundle {
        /// What it names.
        id: String,
    },
    /// The body is larger than a definition may be.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body ended early.
    #[error("the body ended before its announced length")]
    BodyCutOff,
    /// The body is not JSON.
    #[error("the body is not valid JSON: {reason}")]
    BadJson {
        /// Where and why.
        reason: String,
    },
    /// The body is said to be something else than JSON.
    #[error("the content type is `{seen}`; expected `application/json`")]
    NotJsonType {
        /// What it is said to be.
        seen: String,
    },
    /// The body is not a form.
    #[error(
        "the content type is `{seen}`; expected `multipart/form-data` with a boundary and the zip in its field `file`"
    )]
    NotAForm {
        /// What it is said to be.
        seen: String,
    },
    /// The form cannot be read.
    #[error("the form cannot be read: {reason}")]
    BadForm {
        /// Why.
        reason: String,
    },
    /// The form has no zip.
    #[error("the form has no field `file`; expected a zip there")]
    NoFile,
    /// The form has more than one zip.
    #[error("the form has more than one field `file`; expected one zip")]
    ManyFiles,
    /// A query parameter means nothing.
    #[error("{reason}")]
    BadQuery {
        /// Why.
        reason: String,
    },
    /// A header means nothing.
    #[error("the header `{name}` is `{seen}`; expected {expected}")]
    BadHeader {
        /// Its name.
        name: &'static str,
        /// What it is.
        seen: String,
        /// What would be right.
        expected: String,
    },
    /// The tokens with which machines join are not for everybody.
    #[error(
        "the join tokens are not shown while the Director listens on `{bind}`, beyond loopback\n(set `exposeJoinTokens: true` in its configuration to show them to everybody who can reach it)"
    )]
    TokensHidden {
        /// Where it listens.
        bind: IpAddr,
    },
    /// The body comes too slowly.
    #[error("the body did not arrive within {seconds} s")]
    BodyTooSlow {
        /// How long it was waited for.
        seconds: u64,
    },
    /// All places for such an answer are taken.
    #[error(
        "the Director is busy: {number} {what} are under way, which is the most\n(try again later)"
    )]
    Busy {
        /// What is under way.
        what: &'static str,
        /// How many.
        number: usize,
    },
    /// The process is about to end.
    #[error("the Director is shutting down")]
    ShuttingDown,
}

/// Why a request was not fulfilled.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The request itself is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A definition was not taken.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A definition has faults.
    #[error("{}", sentence(faults))]
    Refused {
        /// The task's name; empty when it is unusable.
        id: String,
        /// All of them.
        faults: Vec<Fault>,
    },
    /// A wish was not fulfilled.
    #[error(transparent)]
    Wish(#[from] WishError),
    /// A bundle was not removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// An upload was not kept, or a bundle not found.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There are no log lines.
    #[error(transparent)]
    Logs(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is kept of a run cannot be read.
    #[error("the kept evidence cannot be read: {0}")]
    Evidence(String),
}

/// Status and stable name of an error.
type Verdict = (StatusCode, &'static str);

/// Seconds after which a request that met a busy Director may be sent again.
const SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The answer to a connection for which there is no room; its request is not looked at.
pub const TURNED_AWAY: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 204\r\n\r\n\
    {\"error\":\"the Director is busy: too many connections\",\"code\":\"busy\",\"type\":\"about:blank\",\
    \"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"the Director is busy: too many connections (try again later)\"}";

/// What is said of errors whose own text is for the Director's log only.
const INTERNAL: &str = "the Director failed; its log says why";

impl ApiError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Request(error) => of_request(error),
            Self::Submit(error) => of_submit(error),
            Self::Refused { .. } => (StatusCode::EXPECTATION_FAILED, "definition_faulty"),
            Self::Wish(error) => of_wish(error),
            Self::Remove(error) => of_remove(error),
            Self::Bundle(error) => of_bundle(error),
            Self::Engine(error) => of_engine(error),
            Self::Logs(LogError::Engine(error)) => of_engine(error),
            Self::Logs(LogError::Evidence(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "evidence_failed")
            }
            Self::Logs(LogError::Store(error)) => of_store(error),
            Self::Logs(LogError::Closing) => of_request(&RequestError::ShuttingDown),
            Self::Store(error) => of_store(error),
            Self::Evidence(_) => (StatusCode::INTERNAL_SERVER_ERROR, "evidence_failed"),
        }
    }

    /// What is told: the error's own text, unless that shows the Director's insides.
    fn text(&self) -> String {
        match self {
            // Of one task only, and with the way out.
            Self::Store(damaged @ StoreError::Damaged { .. })
            | Self::Remove(RemoveError::Store(damaged @ StoreError::Damaged { .. }))
            | Self::Submit(SubmitError::Store(damaged @ StoreError::Damaged { .. }))
            | Self::Wish(WishError::Store(damaged @ StoreError::Damaged { .. })) => {
                damaged.to_string()
            }
            // Whoever asked can do something about it, or knows who can.
            Self::Store(full @ StoreError::Full { .. })
            | Self::Remove(RemoveError::Store(full @ StoreError::Full { .. }))
            | Self::Submit(SubmitError::Store(full @ StoreError::Full { .. }))
            | Self::Wish(WishError::Store(full @ StoreError::Full { .. })) => full.to_string(),
            Self::Store(_)
            | Self::Remove(RemoveError::Store(_))
            | Self::Submit(SubmitError::Store(_))
            | Self::Wish(WishError::Store(_))
            | Self::Evidence(_)
            | Self::Logs(LogError::Evidence(_) | LogError::Store(_)) => INTERNAL.to_owned(),
            told => told.to_string(),
        }
    }
}

fn of_request(error: &RequestError) -> Verdict {
    use RequestError as E;
    match error {
        E::UnknownPath { .. } => (StatusCode::NOT_FOUND, "unknown_path"),
        E::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        E::NoTask { .. } => (StatusCode::NOT_FOUND, "task_not_found"),
        E::NotOver { .. } => (StatusCode::CONFLICT, "not_over"),
        E::NoResults { .. } => (StatusCode::NOT_FOUND, "no_results"),
        E::NoReport { .. } => (StatusCode::NOT_FOUND, "no_report"),
        E::NoBundle { .. } => (StatusCode::NOT_FOUND, "bundle_not_found"),
        E::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        E::BodyCutOff => (StatusCode::BAD_REQUEST, "body_cut_off"),
        E::BodyTooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "body_too_slow"),
        E::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        E::BadJson { .. } => (StatusCode::BAD_REQUEST, "bad_json"),
        E::NotJsonType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
        E::NotAForm { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_a_form"),
        E::BadForm { .. } => (StatusCode::BAD_REQUEST, "bad_form"),
        E::NoFile => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "no_file"),
        E::ManyFiles => (StatusCode::BAD_REQUEST, "many_files"),
        E::BadQuery { .. } => (StatusCode::BAD_REQUEST, "bad_query"),
        E::BadHeader { .. } => (StatusCode::BAD_REQUEST, "bad_header"),
        E::TokensHidden { .. } => (StatusCode::SERVICE_UNAVAILABLE, "tokens_hidden"),
        E::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
    }
}

fn of_submit(error: &SubmitError) -> Verdict {
    match error {
        SubmitError::Faulty { .. } => (StatusCode::EXPECTATION_FAILED, "definition_faulty"),
        SubmitError::Different { .. } => (StatusCode::CONFLICT, "task_differs"),
        SubmitError::Ended { .. } => (StatusCode::CONFLICT, "task_ended"),
        SubmitError::Engine(error) => of_engine(error),
        SubmitError::Store(error) => of_store(error),
        SubmitError::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
    }
}

fn of_wish(error: &WishError) -> Verdict {
    match error {
        WishError::NotFound { .. } => (StatusCode::NOT_FOUND, "task_not_found"),
        WishError::Remains { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "clean_up_not_over"),
        WishError::StartedByOther { .. } => (StatusCode::CONFLICT, "started_by_other"),
        WishError::NoLease { .. } => (StatusCode::CONFLICT, "no_lease"),
        WishError::Store(error) => of_store(error),
    }
}

fn of_remove(error: &RemoveError) -> Verdict {
    match error {
        RemoveError::NotFound { .. } => (StatusCode::NOT_FOUND, "bundle_not_found"),
        RemoveError::InUse { .. } => (StatusCode::CONFLICT, "bundle_in_use"),
        RemoveError::Remains { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "volumes_left"),
        RemoveError::Bundle(error) => of_bundle(error),
        RemoveError::Store(error) => of_store(error),
    }
}

fn of_bundle(error: &BundleError) -> Verdict {
    match error {
        BundleError::NotAZip { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_a_zip"),
        BundleError::Hostile { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "archive_refused"),
        BundleError::Broken { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "archive_broken"),
        BundleError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large"),
        BundleError::Storage { source, .. } if source.kind() == ErrorKind::StorageFull => {
            (StatusCode::INSUFFICIENT_STORAGE, "disk_full")
        }
        BundleError::Storage { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "storage_failed"),
    }
}

/// Whatever the engine's error is, the request was valid and may succeed later.
fn of_engine(error: &EngineError) -> Verdict {
    (StatusCode::SERVICE_UNAVAILABLE, error.code)
}

fn of_store(error: &StoreError) -> Verdict {
    match error {
        StoreError::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "task_damaged"),
        StoreError::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        StoreError::Locked { .. }
        | StoreError::Open { .. }
        | StoreError::Format { .. }
        | StoreError::Io(_)
        | StoreError::Corrupt { .. }
        | StoreError::History { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "store_failed"),
    }
}

/// Status of `GET /readyz`.
pub fn readiness_status(ready: bool) -> StatusCode {
    match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Status of a task that is shown: the original's 500 when it could not be created.
pub fn task_status(status: TaskStatus, master_ran: bool) -> StatusCode {
    match status == TaskStatus::Errored && !master_ran {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::OK,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.verdict();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(code, error = %self, "request failed");
        }
        let text = self.text();
        match self {
            Self::Refused { id, faults } => {
                (status, Json(refused(id, text, code, faults))).into_response()
            }
            Self::Request(RequestError::Busy { .. }) => {
                let mut response = problem(status, code, text);
                response.headers_mut().insert(RETRY_AFTER, SECONDS);
                response
            }
            _ => problem(status, code, text),
        }
    }
}

/// Marks answers whose body is a [`Problem`].
#[derive(Clone)]
struct IsProblem;

fn problem(status: StatusCode, code: &str, text: String) -> Response {
    let body = Problem::new(status.as_u16(), &title(status), code, text);
    let mut response = (status, Json(body)).into_response();
    response.extensions_mut().insert(IsProblem);
    response
}

fn refused(id: String, text: String, code: &str, faults: Vec<Fault>) -> TaskRefused {
    let errors = faults.into_iter().map(|fault| FieldError {
        field: fault.field,
        message: fault.message,
    });
    TaskRefused {
        id,
        status: TaskStatus::Errored,
        error: text.clone(),
        errors: errors.collect(),
        code: code.to_owned(),
        kind: "about:blank".to_owned(),
        title: title(StatusCode::EXPECTATION_FAILED),
        detail: text,
    }
}

fn title(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().to_owned()
}

fn sentence(faults: &[Fault]) -> String {
    let all: Vec<String> = faults
        .iter()
        .map(|fault| format!("`{}`: {}", fault.field, fault.message))
        .collect();
    all.join("; ")
}

/// Gives errors of the routes that were added their own media type; the original's stay plain JSON.
pub async fn as_problem(mut response: Response) -> Response {
    if response.extensions().get::<IsProblem>().is_some() {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_PROBLEM));
    }
    response
}

/// The answer where nothing is.
pub async fn unknown_path(uri: Uri) -> ApiError {
    RequestError::UnknownPath {
        path: shorten(uri.path()),
    }
    .into()
}

/// Gives the bare 404 of Swagger UI the body of all errors.
pub async fn unknown_page(uri: Uri, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match response.status() {
        StatusCode::NOT_FOUND => unknown_path(uri).await.into_response(),
        _ => response,
    }
}

/// The answer where something else can be done.
pub async fn method_not_allowed(method: Method) -> ApiError {
    RequestError::Method {
        method: shorten(method.as_str()),
    }
    .into()
}

/// The answer to a request whose handler panicked.
pub fn crashed(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = %text, "a request's handler panicked; this is a bug");
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        INTERNAL.to_owned(),
    )
}

#[cfg(test)]
mod tests;
