//! Calls: the version of the API, deadlines, and errors.

use super::address::{Address, root_cause};
use super::error::{Asked, Kind, classify};
use crate::error::SwarmError;
use bollard::errors::Error;
use bollard::{BollardRequest, ClientVersion, Docker};
use reqwest::Response;
use serde::Deserialize;
use std::future::Future;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Deadline of calls that only read.
const READ: Duration = Duration::from_secs(10);
/// Deadline of calls that change something.
const CHANGE: Duration = Duration::from_secs(30);

/// What is asked of Docker, and how long the answer may take.
pub(super) struct Call {
    asked: Asked,
    deadline: Duration,
}

impl Call {
    /// Reads the `object`.
    pub fn read(object: impl Into<String>) -> Self {
        Self::new(Kind::Read, object.into(), READ)
    }

    /// Creates the `object`.
    pub fn create(object: String) -> Self {
        Self::new(Kind::Create, object, CHANGE)
    }

    /// Ends what runs of the `object`.
    pub fn end(object: String) -> Self {
        Self::new(Kind::End, object, CHANGE)
    }

    /// Removes the `object`.
    pub fn remove(object: String) -> Self {
        Self::new(Kind::Remove, object, CHANGE)
    }

    /// Has Docker get the `object` from its registry.
    pub fn pull(object: String) -> Self {
        Self::new(Kind::Pull, object, CHANGE)
    }

    fn new(kind: Kind, object: String, deadline: Duration) -> Self {
        let asked = Asked { kind, object };
        Self { asked, deadline }
    }

    /// Another deadline than that of its kind.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub fn timed_out(&self) -> SwarmError {
        SwarmError::TimedOut {
            what: self.asked.text(),
            seconds: self.deadline.as_secs(),
        }
    }

    /// An answer that cannot be understood.
    pub fn failed(&self, reason: String) -> SwarmError {
        let what = self.asked.text();
        SwarmError::Internal { what, reason }
    }
}

/// Docker's words for a refusal.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// bollard's client, made at the first call, so that Docker need not be up before, and anew when
/// Docker was away or says that the version is wrong: it may have come back as another version.
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

    /// The answer to `request`, which is made a second time when the first had the wrong version.
    pub async fn ask<T, F>(
        &self,
        call: &Call,
        request: impl Fn(Docker) -> F,
    ) -> Result<T, SwarmError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let answer = async {
            match request(self.docker().await?).await {
                // Refused before it was looked at: it is safe to ask again.
                Err(error) if is_about_version(&error) => {
                    *self.known() = None;
                    request(self.docker().await?).await
                }
                answer => answer,
            }
        };
        match timeout(call.deadline, answer).await {
            Ok(answer) => answer.map_err(|error| self.explain(call, error)),
            Err(_) => Err(call.timed_out()),
        }
    }

    /// A request that bollard cannot make. What goes wrong is told as bollard tells it.
    pub async fn get(
        &self,
        docker: Docker,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Response, Error> {
        let mut url = self.address.base.clone();
        url.set_path(&format!("/v{}{path}", docker.client_version()));
        let request = self.address.http.get(url).query(query);
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.map_err(broken)?;
        let message = serde_json::from_str::<Refusal>(&text).map_or(text, |r| r.message);
        Err(Error::DockerResponseServerError {
            status_code: status.as_u16(),
            message,
        })
    }

    /// bollard's client, which speaks the older of its own version and Docker's.
    async fn docker(&self) -> Result<Docker, Error> {
        let known = self.known().clone();
        if let Some(docker) = known {
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
        let docker = docker.with_request_modifier(move |request| pin(request, version));
        *self.known() = Some(docker.clone());
        Ok(docker)
    }

    fn known(&self) -> MutexGuard<'_, Option<Docker>> {
        self.docker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In our words, what went wrong at `call`.
    pub fn explain(&self, call: &Call, error: Error) -> SwarmError {
        let what = call.asked.text();
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => classify(&call.asked, status_code, message.trim()),
            Error::DockerStreamError { error: reason } => SwarmError::Rejected { what, reason },
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => {
                call.failed(root_cause(&error))
            }
            Error::RequestTimeoutError => call.timed_out(),
            Error::APIVersionParseError {} => {
                self.unavailable("it does not answer as Docker does".to_owned())
            }
            // The connection failed, or broke before the answer was complete.
            error => {
                *self.known() = None;
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

/// A broken connection, as bollard tells it.
pub(super) fn broken(error: reqwest::Error) -> Error {
    Error::from(io::Error::other(error))
}

/// Puts right what bollard 0.21.1 does: it negotiates a version and then leaves it out of the path, and
/// it writes credentials in the alphabet of base64 that Docker does not read. Docker takes credentials
/// that it cannot read for none, without an error.
fn pin(mut request: BollardRequest, version: ClientVersion) -> BollardRequest {
    let uri = request.uri();
    if let (Some(scheme), Some(host), Some(path)) =
        (uri.scheme_str(), uri.authority(), uri.path_and_query())
        && let Ok(pinned) = format!("{scheme}://{host}/v{version}{path}").parse()
    {
        *request.uri_mut() = pinned;
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
fn is_about_version(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { message, .. }
        if message.starts_with("client version ") && message.contains(" is too "))
}

#[cfg(test)]
mod tests;
