//! Converts errors to responses. The only place with status codes of errors: one exhaustive match for each kind of
//! error, so that the compiler reports a missing one.

use crate::exchange::ExchangeError;
use crate::tokens::{CreateError, TokenError};
use atq_access::exchange::UseRefused;
use atq_access::{HostError, Role};
use atq_api_spec::MEDIA_PROBLEM;
use atq_api_spec::error::Problem;
use atq_api_spec::task::{FieldError, TaskRefused, TaskStatus};
use atq_bundle_store::BundleError;
use atq_engine::EngineError;
use atq_run::bundles::RemoveError;
use atq_run::logs::LogError;
use atq_run::stop_and_delete::ControlError;
use atq_run::submit::SubmitError;
use atq_store::StoreError;
use atq_task::spec::{Fault, shorten};
use axum::Json;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::io::ErrorKind;
use std::net::IpAddr;
use thiserror::Error;

/// Errors of requests, independent of the resource.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The path does not exist.
    #[error("unknown path `{0}`\n(see GET /swagger-ui/)")]
    UnknownPath(String),
    /// The path does not support this method.
    #[error("method `{0}` is not allowed here\n(the header `allow` lists the allowed methods)")]
    Method(String),
    /// The task does not exist.
    #[error("there is no task `{0}`")]
    NoTask(String),
    /// The run has not ended.
    #[error(
        "the run of the task `{name}` has not ended: its step is `{step}`\n(results are collected when its containers have ended; see GET /task/{name})"
    )]
    NotOver {
        /// The task.
        name: String,
        /// Its step.
        step: &'static str,
    },
    /// There are no results.
    #[error(
        "the task `{0}` has no such results\n(results must be in `/atq/results` of a worker or of the master when its container ends)"
    )]
    NoResults(String),
    /// The baseline task has no report.
    #[error(
        "the task `{0}` has no report to compare with\n(only ended tasks with result files have one)"
    )]
    NoReport(String),
    /// The bundle does not exist.
    #[error("there is no bundle `{0}`\n(see GET /databind/list)")]
    NoBundle(String),
    /// The body is too large.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// The body ended early.
    #[error("the body ended before its announced length")]
    BodyCutOff,
    /// The body is not JSON.
    #[error("the body is not valid JSON: {0}")]
    BadJson(String),
    /// The content type is not JSON.
    #[error("the content type is `{0}`; expected `application/json`")]
    NotJsonType(String),
    /// The request is not a form.
    #[error(
        "the content type is `{0}`; expected `multipart/form-data` with a boundary and the zip in its field `file`"
    )]
    NotAForm(String),
    /// The form is invalid.
    #[error("the form cannot be read: {0}")]
    BadForm(String),
    /// The form has no zip.
    #[error("the form has no field `file`; expected a zip there")]
    NoFile,
    /// The form has more than one zip.
    #[error("the form has more than one field `file`; expected one zip")]
    ManyFiles,
    /// A query parameter is invalid.
    #[error("{0}")]
    BadQuery(String),
    /// A header is invalid.
    #[error("the header `{name}` is `{found}`; expected {expected}")]
    BadHeader {
        /// Name of the header.
        name: &'static str,
        /// Value of the header.
        found: String,
        /// Description of valid values.
        expected: String,
    },
    /// The join tokens are protected.
    #[error(
        "the join tokens are not shown while the Director listens on `{0}`, beyond loopback\n(set `exposeJoinTokens: true` in its configuration to show them to all clients)"
    )]
    TokensHidden(IpAddr),
    /// The body was not received in time.
    #[error("the body did not arrive within {0} s")]
    BodyTooSlow(u64),
    /// The request addresses another host, or none.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A page of another site has caused the request.
    #[error(
        "a page of another site has sent this request\n(the headers `Origin` and `Sec-Fetch-Site` show it; set `publicUrl` if the Director is behind a proxy)"
    )]
    ForeignPage,
    /// The request has a session cookie, but not the CSRF token of the session.
    #[error(
        "the request has no valid CSRF token\n(requests with a session cookie that change something need the header `X-Atq-Csrf`: see GET /session; requests with a token do not)"
    )]
    NoCsrf,
    /// The operating system has no random bytes.
    #[error("the operating system does not return random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The client is not identified: it has no credentials, or a token that is not accepted.
    #[error("{}", unauthenticated(*.0))]
    Unauthenticated(Option<TokenError>),
    /// The request has several tokens.
    #[error(
        "the request has different tokens\n(send one token, in `Authorization: Bearer` or in `X-Atq-Token`)"
    )]
    Contradicting,
    /// The role of the client does not suffice.
    #[error("the role `{needed}` is required; `{name}` has the role `{role}`")]
    Forbidden {
        /// Name of the client.
        name: String,
        /// Its role.
        role: Role,
        /// The weakest role that suffices.
        needed: Role,
    },
    /// The route was added without a permission; a bug.
    #[error("the route has no permission")]
    NoPermission,
    /// The metrics cannot be written: a bug, or the process shuts down.
    #[error("the metrics cannot be written")]
    NoMetrics,
    /// Authentication is off, and the client is not at a Unix socket.
    #[error(
        "tokens are managed on the Director's machine while authentication is off\n(use `atq-director token`, or set `auth: tokens`)"
    )]
    AuthOff,
    /// There is no such token, or it belongs to another client.
    #[error("there is no token `{0}`\n(see GET /token)")]
    NoToken(String),
    /// A token with these properties cannot be created.
    #[error("{0}")]
    BadToken(String),
    /// Too many concurrent requests of this kind.
    #[error(
        "the Director is busy: {number} {what} in progress, which is the limit\n(try again later)"
    )]
    Busy {
        /// Kind of the requests.
        what: &'static str,
        /// Their number.
        number: usize,
    },
    /// Earlier tasks are not resumed yet.
    #[error("the Director is starting and resumes earlier tasks")]
    Starting,
    /// JWTs are not exchanged.
    #[error("there is no token exchange: {0}")]
    NoExchange(&'static str),
    /// The Director is shutting down.
    #[error("the Director is shutting down")]
    ShuttingDown,
}

/// The reason why a request failed.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The request is invalid.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A definition was refused.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A definition has faults.
    #[error("{}", join_faults(faults))]
    Refused {
        /// The task's name; empty if it is invalid.
        id: String,
        /// All faults.
        faults: Vec<Fault>,
    },
    /// A task was not stopped, deleted or renewed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A bundle was not removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// An upload was not stored, or a bundle not found.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The log lines are not available.
    #[error(transparent)]
    Logs(#[from] LogError),
    /// A JWT is not exchanged.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A token was not created.
    #[error(transparent)]
    Token(#[from] CreateError),
    /// The stored evidence of a run cannot be read.
    #[error("cannot read the stored evidence: {0}")]
    Evidence(String),
}

fn unauthenticated(reason: Option<TokenError>) -> String {
    let remedy = match reason {
        Some(TokenError::Malformed) => "the whole token is sent, as it was printed at its creation",
        Some(_) => "`atq token list` and GET /token show when tokens expire",
        None => {
            "send a token in the header `Authorization: Bearer <token>`; `atq-director token create` on the Director's machine creates the first one"
        }
    };
    match reason {
        Some(reason) => format!("{reason}\n({remedy})"),
        None => format!("the request needs a token\n({remedy})"),
    }
}

/// Status and stable code of an error.
type StatusAndCode = (StatusCode, &'static str);

/// Value of `Retry-After` for a busy Director, in seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Values of `WWW-Authenticate` (RFC 6750).
const TOKEN_NEEDED: HeaderValue = HeaderValue::from_static("Bearer realm=\"atq\"");
const INVALID_TOKEN: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"atq\", error=\"invalid_token\"");

/// The response to a connection beyond the limit; its request is not read.
pub const TOO_MANY_CONNECTIONS: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n\
    retry-after: 5\r\nconnection: close\r\ncontent-length: 204\r\n\r\n\
    {\"error\":\"the Director is busy: too many connections\",\"code\":\"busy\",\"type\":\"about:blank\",\
    \"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"the Director is busy: too many connections (try again later)\"}";

/// The response to a request without TLS on a port that uses TLS.
pub const PLAIN_HTTP: &str = "HTTP/1.1 400 Bad Request\r\n\
    content-type: application/problem+json\r\nconnection: close\r\ncontent-length: 176\r\n\r\n\
    {\"error\":\"this port uses https\",\"code\":\"https_required\",\"type\":\"about:blank\",\
    \"title\":\"Bad Request\",\"status\":400,\
    \"detail\":\"this port uses https (begin the URL with `https://`)\"}";

/// Text for errors whose details are only logged.
const INTERNAL: &str = "the Director failed; see its log";

impl ApiError {
    fn status_and_code(&self) -> StatusAndCode {
        match self {
            Self::Request(error) => of_request(error),
            Self::Submit(error) => of_submit(error),
            Self::Refused { .. } => (StatusCode::EXPECTATION_FAILED, "definition_faulty"),
            Self::Control(error) => of_control(error),
            Self::Remove(error) => of_remove(error),
            Self::Bundle(error) => of_bundle(error),
            Self::Engine(error) => of_engine(error),
            Self::Logs(LogError::Engine(error)) => of_engine(error),
            Self::Logs(LogError::Evidence(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "evidence_failed")
            }
            Self::Logs(LogError::Store(error)) => of_store(error),
            Self::Logs(LogError::Closing) => of_request(&RequestError::ShuttingDown),
            Self::Exchange(error) => of_exchange(error),
            Self::Store(error) => of_store(error),
            Self::Token(error) => of_token(error),
            Self::Evidence(_) => (StatusCode::INTERNAL_SERVER_ERROR, "evidence_failed"),
        }
    }

    /// The text of the response: the error's own text, unless it contains internal details.
    fn text(&self) -> String {
        match (self.store_error(), self) {
            // The client can act on it: the damage concerns one task only, and the text contains the remedy.
            (Some(shown @ (StoreError::Damaged { .. } | StoreError::Full { .. })), _) => {
                shown.to_string()
            }
            (Some(_), _)
            | (_, Self::Evidence(_) | Self::Logs(LogError::Evidence(_) | LogError::Store(_))) => {
                INTERNAL.to_owned()
            }
            (None, shown) => shown.to_string(),
        }
    }

    /// The error of the store in a request about tasks or bundles.
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error)
            | Self::Remove(RemoveError::Store(error))
            | Self::Submit(SubmitError::Store(error))
            | Self::Token(CreateError::Store(error))
            | Self::Control(ControlError::Store(error)) => Some(error),
            _ => None,
        }
    }
}

fn of_request(error: &RequestError) -> StatusAndCode {
    use RequestError as E;
    match error {
        E::UnknownPath(_) => (StatusCode::NOT_FOUND, "unknown_path"),
        E::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        E::NoTask(_) => (StatusCode::NOT_FOUND, "task_not_found"),
        E::NotOver { .. } => (StatusCode::CONFLICT, "not_over"),
        E::NoResults(_) => (StatusCode::NOT_FOUND, "no_results"),
        E::NoReport(_) => (StatusCode::NOT_FOUND, "no_report"),
        E::NoBundle(_) => (StatusCode::NOT_FOUND, "bundle_not_found"),
        E::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        E::BodyCutOff => (StatusCode::BAD_REQUEST, "body_cut_off"),
        E::BodyTooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "body_too_slow"),
        E::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        E::BadJson(_) => (StatusCode::BAD_REQUEST, "bad_json"),
        E::NotJsonType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
        E::NotAForm(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_a_form"),
        E::BadForm(_) => (StatusCode::BAD_REQUEST, "bad_form"),
        E::NoFile => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "no_file"),
        E::ManyFiles => (StatusCode::BAD_REQUEST, "many_files"),
        E::BadQuery(_) => (StatusCode::BAD_REQUEST, "bad_query"),
        E::BadHeader { .. } => (StatusCode::BAD_REQUEST, "bad_header"),
        E::Host(HostError::Foreign(_)) => (StatusCode::MISDIRECTED_REQUEST, "foreign_host"),
        E::Host(_) => (StatusCode::BAD_REQUEST, "bad_host"),
        E::ForeignPage => (StatusCode::FORBIDDEN, "foreign_page"),
        E::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        E::Contradicting => (StatusCode::BAD_REQUEST, "contradicting_credentials"),
        E::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden"),
        E::NoCsrf => (StatusCode::FORBIDDEN, "csrf"),
        E::Random(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        E::NoPermission | E::NoMetrics => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        E::AuthOff => (StatusCode::CONFLICT, "auth_off"),
        E::NoToken(_) => (StatusCode::NOT_FOUND, "token_not_found"),
        E::BadToken(_) => (StatusCode::BAD_REQUEST, "bad_token"),
        E::TokensHidden(_) => (StatusCode::SERVICE_UNAVAILABLE, "tokens_hidden"),
        E::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        E::NoExchange(_) => (StatusCode::NOT_FOUND, "no_token_exchange"),
        E::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
    }
}

fn of_exchange(error: &ExchangeError) -> StatusAndCode {
    match error {
        ExchangeError::Wait(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
        ExchangeError::Refused { .. }
        | ExchangeError::Used(UseRefused::OtherAddress | UseRefused::TooOften) => {
            (StatusCode::FORBIDDEN, "exchange_refused")
        }
        ExchangeError::Used(UseRefused::Full) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        ExchangeError::NoKeys => (StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable"),
    }
}

/// Value of `Retry-After`; `None` if a repetition cannot help.
fn retry_after(error: &ApiError) -> Option<HeaderValue> {
    match error {
        ApiError::Request(RequestError::Busy { .. })
        | ApiError::Exchange(ExchangeError::NoKeys | ExchangeError::Used(UseRefused::Full)) => {
            Some(RETRY_SECONDS)
        }
        ApiError::Exchange(ExchangeError::Wait(seconds)) => Some(HeaderValue::from(*seconds)),
        _ => None,
    }
}

fn of_submit(error: &SubmitError) -> StatusAndCode {
    match error {
        SubmitError::Faulty { .. } => (StatusCode::EXPECTATION_FAILED, "definition_faulty"),
        SubmitError::Different { .. } => (StatusCode::CONFLICT, "task_differs"),
        SubmitError::Ended { .. } => (StatusCode::CONFLICT, "task_ended"),
        SubmitError::Engine(error) => of_engine(error),
        SubmitError::Store(error) => of_store(error),
        SubmitError::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
    }
}

fn of_control(error: &ControlError) -> StatusAndCode {
    match error {
        ControlError::NotFound { .. } => (StatusCode::NOT_FOUND, "task_not_found"),
        ControlError::Remains { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "clean_up_not_over"),
        ControlError::StartedByOther { .. } => (StatusCode::CONFLICT, "started_by_other"),
        ControlError::NoLease { .. } => (StatusCode::CONFLICT, "no_lease"),
        ControlError::Store(error) => of_store(error),
    }
}

fn of_remove(error: &RemoveError) -> StatusAndCode {
    match error {
        RemoveError::NotFound { .. } => (StatusCode::NOT_FOUND, "bundle_not_found"),
        RemoveError::InUse { .. } => (StatusCode::CONFLICT, "bundle_in_use"),
        RemoveError::Remains { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "volumes_left"),
        RemoveError::Bundle(error) => of_bundle(error),
        RemoveError::Store(error) => of_store(error),
    }
}

fn of_bundle(error: &BundleError) -> StatusAndCode {
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

fn of_token(error: &CreateError) -> StatusAndCode {
    match error {
        CreateError::Name(_) => (StatusCode::BAD_REQUEST, "bad_token"),
        CreateError::TooMany => (StatusCode::CONFLICT, "too_many_tokens"),
        CreateError::Random(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        CreateError::Store(error) => of_store(error),
    }
}

/// For every error of the engine, the request was valid and may succeed later.
fn of_engine(error: &EngineError) -> StatusAndCode {
    (StatusCode::SERVICE_UNAVAILABLE, error.code)
}

fn of_store(error: &StoreError) -> StatusAndCode {
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

/// Status of a task's response: 500 if it could not be created, as in 2018.
pub fn task_status(status: TaskStatus, master_ran: bool) -> StatusCode {
    match status == TaskStatus::Errored && !master_ran {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::OK,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(code, error = %self, "request failed");
        }
        let text = self.text();
        let retry_after = retry_after(&self);
        match self {
            Self::Refused { id, faults } => {
                (status, Json(refused(id, text, code, faults))).into_response()
            }
            Self::Request(RequestError::Unauthenticated(reason)) => {
                let mut response = problem(status, code, text);
                let challenge = match reason {
                    Some(_) => INVALID_TOKEN,
                    None => TOKEN_NEEDED,
                };
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            }
            _ => {
                let mut response = problem(status, code, text);
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, seconds);
                }
                response
            }
        }
    }
}

/// Marks responses whose body is a [`Problem`] with this code.
#[derive(Clone)]
struct IsProblem(&'static str);

/// The code of an error, from its response.
pub(super) fn error_code(response: &Response) -> Option<&'static str> {
    response.extensions().get().map(|IsProblem(code)| *code)
}

fn problem(status: StatusCode, code: &'static str, text: String) -> Response {
    let body = Problem::new(status.as_u16(), &title(status), code, text);
    let mut response = (status, Json(body)).into_response();
    response.extensions_mut().insert(IsProblem(code));
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

fn join_faults(faults: &[Fault]) -> String {
    let all: Vec<String> = faults
        .iter()
        .map(|fault| format!("`{}`: {}", fault.field, fault.message))
        .collect();
    all.join("; ")
}

/// Sets the media type of errors of the added routes; errors of the 2018 routes stay plain JSON.
pub async fn as_problem(mut response: Response) -> Response {
    if response.extensions().get::<IsProblem>().is_some() {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_PROBLEM));
    }
    response
}

/// The response for unknown paths.
pub async fn unknown_path(uri: Uri) -> ApiError {
    RequestError::UnknownPath(shorten(uri.path())).into()
}

/// Replaces the bare 404 of Swagger UI by the body of all errors.
pub async fn unknown_page(uri: Uri, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match response.status() {
        StatusCode::NOT_FOUND => unknown_path(uri).await.into_response(),
        _ => response,
    }
}

/// The response for unsupported methods.
pub async fn method_not_allowed(method: Method) -> ApiError {
    RequestError::Method(shorten(method.as_str())).into()
}

/// The response when a handler panicked.
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
