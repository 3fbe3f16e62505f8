//! Calls of the Docker API: version negotiation, timeouts and errors.

use super::address::Address;
use super::error::{Operation, OperationKind, classify};
use crate::error::{SwarmError, root_cause};
use bollard::errors::Error;
use bollard::{BollardRequest, ClientVersion, Docker};
use parking_lot::Mutex;
use reqwest::Response;
use serde::Deserialize;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// Timeout of calls that only read.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of calls that change something.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A call of Docker, for messages, and its timeout.
pub(super) struct Call {
    operation: Operation,
    timeout: Duration,
}

impl Call {
    /// Reads the `object`.
    pub fn read(object: impl Into<String>) -> Self {
        Self::new(OperationKind::Read, object.into(), READ_TIMEOUT)
    }

    /// Creates the `object`.
    pub fn create(object: String) -> Self {
        Self::new(OperationKind::Create, object, CHANGE_TIMEOUT)
    }

    /// Stops the `object`.
    pub fn end(object: String) -> Self {
        Self::new(OperationKind::End, object, CHANGE_TIMEOUT)
    }

    /// Removes the `object`.
    pub fn remove(object: String) -> Self {
        Self::new(OperationKind::Remove, object, CHANGE_TIMEOUT)
    }

    /// Pulls the `object` from its registry.
    pub fn pull(object: String) -> Self {
        Self::new(OperationKind::Pull, object, CHANGE_TIMEOUT)
    }

    fn new(kind: OperationKind, object: String, timeout: Duration) -> Self {
        let operation = Operation { kind, object };
        Self { operation, timeout }
    }

    /// Replaces the default timeout.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub fn timed_out(&self) -> SwarmError {
        SwarmError::TimedOut {
            what: self.operation.text(),
            seconds: self.timeout.as_secs(),
        }
    }

    /// The error for an invalid response.
    pub fn failed(&self, reason: String) -> SwarmError {
        let what = self.operation.text();
        SwarmError::Internal { what, reason }
    }
}

/// Docker's error response.
#[derive(Deserialize)]
struct ErrorResponse {
    message: String,
}

/// bollard's client. It is created at the first call, so that the Director can start before Docker. It is created again
/// after Docker was unavailable or has rejected the version, because Docker may have been upgraded or downgraded.
pub(super) struct Client {
    address: Address,
    docker: Mutex<Option<Docker>>,
}

impl Client {
    pub fn new(address: Address) -> Self {
        Self {
            address,
            docker: Mutex::new(None),
        }
    }

    /// Sends `request` and returns the response. Repeats it once if the version was rejected.
    pub async fn send<T, F>(
        &self,
        call: &Call,
        request: impl Fn(Docker) -> F,
    ) -> Result<T, SwarmError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let answer = async {
            match request(self.docker().await?).await {
                // The request was rejected before it was processed, so that a retry is safe.
                Err(error) if is_version_error(&error) => {
                    *self.docker.lock() = None;
                    request(self.docker().await?).await
                }
                answer => answer,
            }
        };
        match timeout(call.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| self.to_swarm_error(call, error)),
            Err(_) => Err(call.timed_out()),
        }
    }

    /// A GET request that bollard does not support. Errors are bollard's types.
    pub async fn get(
        &self,
        docker: Docker,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Response, Error> {
        let mut url = self.address.base.clone();
        url.set_path(&format!("/v{}{path}", docker.client_version()));
        let request = self.address.http.get(url).query(query);
        let response = request.send().await.map_err(connection_error)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.map_err(connection_error)?;
        let message = serde_json::from_str::<ErrorResponse>(&text).map_or(text, |r| r.message);
        Err(Error::DockerResponseServerError {
            status_code: status.as_u16(),
            message,
        })
    }

    /// bollard's client, with the older of bollard's and Docker's API versions.
    async fn docker(&self) -> Result<Docker, Error> {
        let cached = self.docker.lock().clone();
        if let Some(docker) = cached {
            return Ok(docker);
        }
        let negotiated = self.address.docker()?.negotiate_version().await;
        let docker = negotiated.map_err(|error| match error {
            Error::DockerResponseServerError { .. } | Error::JsonDataError { .. } => {
                Error::APIVersionParseError {}
            }
            error => error,
        })?;
        let version = docker.client_version();
        let docker = docker.with_request_modifier(move |request| fix_request(request, version));
        *self.docker.lock() = Some(docker.clone());
        Ok(docker)
    }

    /// Converts an error of `call`.
    pub fn to_swarm_error(&self, call: &Call, error: Error) -> SwarmError {
        let what = call.operation.text();
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => classify(&call.operation, status_code, message.trim()),
            Error::DockerStreamError { error: reason } => SwarmError::Rejected { what, reason },
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => {
                call.failed(root_cause(&error))
            }
            Error::RequestTimeoutError => call.timed_out(),
            Error::APIVersionParseError {} => {
                self.unavailable("it does not answer like Docker".to_owned())
            }
            // The connection failed, or was closed before the response was complete.
            error => {
                *self.docker.lock() = None;
                self.unavailable(root_cause(&error))
            }
        }
    }

    fn unavailable(&self, reason: String) -> SwarmError {
        SwarmError::Unavailable {
            host: self.address.host.clone(),
            reason,
        }
    }
}

/// A connection error as bollard's type.
pub(super) fn connection_error(error: reqwest::Error) -> Error {
    Error::from(io::Error::other(error))
}

/// Works around bollard 0.21.1: it negotiates a version and omits it from the path, and it encodes credentials in a
/// base64 alphabet that Docker does not read. Docker treats credentials that it cannot read as missing, without an
/// error.
fn fix_request(mut request: BollardRequest, version: ClientVersion) -> BollardRequest {
    let uri = request.uri();
    if let (Some(scheme), Some(host), Some(path)) =
        (uri.scheme_str(), uri.authority(), uri.path_and_query())
        && let Ok(versioned) = format!("{scheme}://{host}/v{version}{path}").parse()
    {
        *request.uri_mut() = versioned;
    }
    if let Some(credentials) = request.headers_mut().get_mut("X-Registry-Auth")
        && let Ok(text) = credentials.to_str()
        && let Ok(readable) = text.replace('+', "-").replace('/', "_").parse()
    {
        *credentials = readable;
        credentials.set_sensitive(true);
    }
    request
}

/// `client version 1.53 is too new. Maximum supported API version is 1.41`, or `too old`.
fn is_version_error(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { message, .. }
        if message.starts_with("client version ") && message.contains(" is too "))
}

#[cfg(test)]
mod tests;
