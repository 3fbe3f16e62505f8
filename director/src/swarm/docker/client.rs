//! Calls over HTTP: the version of the API, deadlines, and refusals.

use super::address::{Address, root_cause};
use super::error::{Asked, Kind, classify};
use crate::swarm::SwarmError;
use reqwest::{Method, Response, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Deadline of calls that only read.
pub(super) const READ: Duration = Duration::from_secs(10);
/// Deadline of calls that change something.
pub(super) const CHANGE: Duration = Duration::from_secs(30);

/// Major and minor version of the Docker API.
type ApiVersion = (u32, u32);

/// The newest API whose description the requests were written to. Older ones, back to 1.41, take
/// the same requests.
const NEWEST: ApiVersion = (1, 53);

/// One request.
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<serde_json::Value>,
    asked: Asked,
    deadline: Duration,
}

impl Call {
    /// Reads `path`. `object` names what is read, for messages.
    pub fn read(path: impl Into<String>, object: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), Kind::Read, object.into(), READ)
    }

    /// Creates the `object` that `body` describes.
    pub fn create(path: &str, object: String, body: &impl Serialize) -> Result<Self, SwarmError> {
        let mut call = Self::new(Method::POST, path.to_owned(), Kind::Create, object, CHANGE);
        let body = serde_json::to_value(body).map_err(|e| call.failed(&e))?;
        call.body = Some(body);
        Ok(call)
    }

    /// Removes the `object` at `path`.
    pub fn remove(path: String, object: String) -> Self {
        Self::new(Method::DELETE, path, Kind::Remove, object, CHANGE)
    }

    /// Has Docker get the image `object` from its registry.
    pub fn pull(object: String) -> Self {
        let path = "/images/create".to_owned();
        Self::new(Method::POST, path, Kind::Pull, object, CHANGE)
    }

    fn new(method: Method, path: String, kind: Kind, object: String, deadline: Duration) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            body: None,
            asked: Asked { kind, object },
            deadline,
        }
    }

    /// Adds a parameter.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Another deadline than that of its kind.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(super) fn timed_out(&self) -> SwarmError {
        SwarmError::TimedOut {
            what: self.asked.text(),
            seconds: self.deadline.as_secs(),
        }
    }

    /// A refusal that came in the middle of an answer.
    pub(super) fn refused(&self, reason: String) -> SwarmError {
        SwarmError::Rejected {
            what: self.asked.text(),
            reason,
        }
    }

    /// An answer that cannot be understood.
    pub(super) fn failed(&self, error: &dyn std::error::Error) -> SwarmError {
        SwarmError::Internal {
            what: self.asked.text(),
            reason: root_cause(error),
        }
    }
}

/// Docker's words for a refusal.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// A client that learns the version of the API at its first call, so that Docker need not be up when
/// the client is made, and anew when Docker was away or says that the version is wrong: it may have
/// come back as another version.
pub(super) struct Client {
    address: Address,
    version: Mutex<Option<ApiVersion>>,
}

impl Client {
    pub fn new(address: Address) -> Self {
        Self {
            address,
            version: Mutex::new(None),
        }
    }

    /// The answer, read to its end.
    pub async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, SwarmError> {
        let answer = async {
            let response = self.respond(&call).await?;
            let body = response.bytes().await.map_err(|e| self.lost(&call, &e))?;
            serde_json::from_slice(&body).map_err(|e| call.failed(&e))
        };
        timeout(call.deadline, answer)
            .await
            .unwrap_or_else(|_| Err(call.timed_out()))
    }

    /// For calls whose answer does not matter.
    pub async fn done(&self, call: Call) -> Result<(), SwarmError> {
        self.open(&call).await.map(drop)
    }

    /// An answer whose body is still to be read; the deadline is for its beginning.
    pub async fn open(&self, call: &Call) -> Result<Response, SwarmError> {
        timeout(call.deadline, self.respond(call))
            .await
            .unwrap_or_else(|_| Err(call.timed_out()))
    }

    async fn respond(&self, call: &Call) -> Result<Response, SwarmError> {
        match self.attempt(call).await? {
            Ok(response) => Ok(response),
            // Refused before it was looked at: it is safe to ask again.
            Err((_, reason)) if is_about_version(&reason) => {
                self.remember(None);
                let second = self.attempt(call).await?;
                second.map_err(|(status, reason)| classify(&call.asked, status, &reason))
            }
            Err((status, reason)) => Err(classify(&call.asked, status, &reason)),
        }
    }

    /// One request: a response, or status and text of a refusal.
    async fn attempt(&self, call: &Call) -> Result<Result<Response, (u16, String)>, SwarmError> {
        let (major, minor) = self.version(call).await?;
        let url = self.url(&format!("/v{major}.{minor}{}", call.path));
        let mut request = self.address.http.request(call.method.clone(), url);
        request = request.query(&call.query);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| self.lost(call, &e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Ok(response));
        }
        let text = response.text().await.map_err(|e| self.lost(call, &e))?;
        let message = serde_json::from_str::<Refusal>(&text).map_or(text, |r| r.message);
        Ok(Err((status.as_u16(), message.trim().to_owned())))
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.address.base.clone();
        url.set_path(path);
        url
    }

    /// The version to speak: ours or Docker's, whichever is older.
    async fn version(&self, call: &Call) -> Result<ApiVersion, SwarmError> {
        let known = *self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = known {
            return Ok(version);
        }
        let ping = self.address.http.get(self.url("/_ping")).send().await;
        let response = ping.map_err(|e| self.lost(call, &e))?;
        let header = response.headers().get("api-version");
        let version = header
            .and_then(|value| parse_version(value.to_str().ok()?))
            .map(|engine| engine.min(NEWEST))
            .ok_or_else(|| self.unavailable("it does not answer as Docker does".to_owned()))?;
        self.remember(Some(version));
        Ok(version)
    }

    fn remember(&self, version: Option<ApiVersion>) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// The connection failed, or broke before the answer was complete.
    pub(super) fn lost(&self, call: &Call, error: &reqwest::Error) -> SwarmError {
        self.remember(None);
        match error.is_timeout() && !error.is_connect() {
            true => call.timed_out(),
            false => self.unavailable(root_cause(error)),
        }
    }

    fn unavailable(&self, reason: String) -> SwarmError {
        SwarmError::Unavailable {
            host: self.address.host.clone(),
            reason,
        }
    }
}

fn parse_version(text: &str) -> Option<ApiVersion> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `client version 1.53 is too new. Maximum supported API version is 1.41`, or `too old`.
fn is_about_version(reason: &str) -> bool {
    reason.starts_with("client version ") && reason.contains(" is too ")
}

#[cfg(test)]
mod tests;
