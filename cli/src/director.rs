//! Requests to the Director. Reads and other idempotent requests are retried for a few seconds; other requests are sent
//! once.

use crate::error::{CliError, innermost};
use crate::path::segment;
use crate::retry::is_temporary;
use crate::run::invocation::Invocation;
use crate::token::{ClientToken, TOKEN_HEADER};
use crate::trust::{Trust, USE_HTTPS, explain};
use atq_api_spec::task::{FieldError, Task};
use atq_retry::retry_with;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

mod route;

pub use route::redacted_url;
use route::{Route, new_base};

/// Timeout until the response begins.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of a removal: the Director waits up to 90 s for the clean-up before it reports leftovers.
pub const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(100);
/// Timeout between two chunks of a response.
pub const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses between retries. An unreachable Director is retried [`MAX_UNREACHABLE_RETRIES`] times.
const RETRY_PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
const MAX_UNREACHABLE_RETRIES: usize = 3;
/// Maximum `Retry-After` that a command waits for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
/// Maximum number of redirects of one request.
const MAX_REDIRECTS: usize = 5;

/// A client for a Director. Clones share the route, so a redirect is resolved once.
#[derive(Debug, Clone)]
pub struct Director {
    route: Arc<Mutex<Route>>,
    /// The given URL without credentials.
    redacted_url: String,
    /// The token, and the origin that it is sent to.
    token: Option<Arc<(ClientToken, String)>>,
}

/// The body of an error response. Any field may be missing when the response is not from a Director.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    code: String,
    errors: Vec<FieldError>,
}

impl Director {
    /// A client for the Director at `url`, with or without a trailing `/api`.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub fn at(url: &str) -> Result<Self, CliError> {
        Self::trusting(url, &Trust::default())
    }

    /// [`Director::at`] with additional trusted certificates.
    ///
    /// # Errors
    /// When the URL is invalid, or there is no trusted certificate at all.
    pub fn trusting(url: &str, trust: &Trust) -> Result<Self, CliError> {
        let route = Route::to(url, trust)?;
        Ok(Self {
            redacted_url: route.redacted(),
            route: Arc::new(Mutex::new(route)),
            token: None,
        })
    }

    /// The same Director with this token, which is sent only to the host of the given URL.
    #[must_use]
    pub fn with_token(self, token: Option<ClientToken>) -> Self {
        let origin = origin(&self.route().base);
        Self {
            token: token.map(|token| Arc::new((token, origin))),
            ..self
        }
    }

    /// Whether requests are sent without encryption to another machine.
    pub fn is_unencrypted(&self) -> bool {
        self.route().is_unencrypted()
    }

    /// Whether requests have a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The URL for messages, without user and password.
    pub fn url(&self) -> &str {
        &self.redacted_url
    }

    /// Builds a request. `path` is relative to the base and includes the query, for example `task/load`.
    ///
    /// # Errors
    /// When the path is invalid.
    pub fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, CliError> {
        let route = self.route();
        let url = route.base.join(path).map_err(|error| {
            CliError::usage(format!("`{path}` is not a valid path: {error}"), "")
        })?;
        let has_password = !url.username().is_empty() || url.password().is_some();
        let request = route.client.request(method, url);
        Ok(match self.token.as_deref() {
            Some((token, own)) if *own == origin(&route.base) => token.sign(request, has_password),
            _ => request,
        })
    }

    fn route(&self) -> Route {
        // No code panics while the lock is held.
        let route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        route.clone()
    }

    /// Gets `path` as JSON.
    ///
    /// # Errors
    /// When the Director rejects the request or is unreachable, or the response is invalid.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let request = self
            .request(Method::GET, path)?
            .header(header::ACCEPT, "application/json");
        let response = self.send_with_retries(request).await?;
        self.read(response).await
    }

    /// Gets a task, including one that could not be started.
    ///
    /// # Errors
    /// When the task does not exist, or the Director rejects the request or is unreachable.
    pub async fn task(&self, name: &str) -> Result<Task, CliError> {
        let request = self.request(Method::GET, &format!("task/{}", segment(name)))?;
        with_retries(async || {
            let response = self.exchange(copy(&request)?, RESPONSE_TIMEOUT).await?;
            // A task that could not be started has the status 500, for compatibility with the 2018 version.
            self.read_any_status(response).await
        })
        .await
    }

    /// Parses the body as JSON, also if the status is an error.
    ///
    /// # Errors
    /// When the body is invalid: the error of the status, if it has one.
    pub async fn read_any_status<T: DeserializeOwned>(
        &self,
        response: Response,
    ) -> Result<T, CliError> {
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = self.body(response).await?;
        match serde_json::from_slice(&body) {
            Ok(value) => Ok(value),
            Err(_) if !status.is_success() => Err(self.refused(status, retry_after, &body)),
            Err(error) => Err(self.invalid_body(&error)),
        }
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    /// When the body is invalid.
    pub async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, CliError> {
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.invalid_body(&error))
    }

    /// Reads the whole body, with a timeout between chunks.
    async fn body(&self, mut response: Response) -> Result<Vec<u8>, CliError> {
        let mut body = Vec::new();
        loop {
            match tokio::time::timeout(CHUNK_TIMEOUT, response.chunk()).await {
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Ok(body),
                Ok(Err(error)) => return Err(self.request_error(&error)),
                Err(_) => return Err(self.stalled_response()),
            }
        }
    }

    /// A response that has begun and then stalled.
    pub fn stalled_response(&self) -> CliError {
        self.unreachable(format!(
            "the response stalled for {} s",
            CHUNK_TIMEOUT.as_secs()
        ))
    }

    fn invalid_body(&self, error: &serde_json::Error) -> CliError {
        let message = format!(
            "the response of `{}` is not that of a Director: {error}",
            self.url()
        );
        CliError::failed(message, "check that the versions match: `atq version`")
    }

    /// Sends an idempotent request, with up to three retries; up to five while the Director is busy.
    ///
    /// # Errors
    /// When the Director rejects the request, or does not respond.
    pub async fn send_with_retries(&self, request: RequestBuilder) -> Result<Response, CliError> {
        match request.try_clone() {
            Some(_) => self.send_and_note(request, |_| {}).await,
            None => self.send(request).await,
        }
    }

    /// Sends an idempotent request that can be repeated, with the same retries, and passes the error of each attempt to
    /// `note`.
    ///
    /// # Errors
    /// When the Director rejects the request, or does not respond.
    pub async fn send_and_note(
        &self,
        request: RequestBuilder,
        note: impl Fn(&CliError),
    ) -> Result<Response, CliError> {
        let attempt = async || self.send(copy(&request)?).await.inspect_err(&note);
        with_retries(attempt).await
    }

    /// Sends a request once, with a timeout of 30 s for the start of the response.
    ///
    /// # Errors
    /// When the Director rejects the request, or does not respond.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        self.send_within(request, RESPONSE_TIMEOUT).await
    }

    /// Sends a request once, with this timeout for the start of the response.
    ///
    /// # Errors
    /// When the Director rejects the request, or does not respond.
    pub async fn send_within(
        &self,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<Response, CliError> {
        let response = self.exchange(request, timeout).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => {
                let retry_after = retry_after(&response);
                let body = self.body(response).await.unwrap_or_default();
                Err(self.refused(status, retry_after, &body))
            }
        }
    }

    /// Sends a request once and returns the response with any status. A redirect is followed with the same method and body;
    /// later requests go to the new location directly.
    ///
    /// # Errors
    /// When there is no response, or a redirect cannot lead to a Director.
    pub async fn exchange(
        &self,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<Response, CliError> {
        let built = request
            .build()
            .map_err(|error| self.request_error(&error))?;
        let exchange = async {
            let mut request = built;
            for _ in 0..MAX_REDIRECTS {
                let (url, copy) = (request.url().clone(), request.try_clone());
                let result = self.route().client.execute(request).await;
                let response = result.map_err(|error| self.request_error(&error))?;
                if !response.status().is_redirection() {
                    return Ok(response);
                }
                let to = self.redirected(&url, &response)?;
                request =
                    copy.ok_or_else(|| self.unreachable(format!("it redirects to `{to}`")))?;
                if to.origin() != url.origin() {
                    if url.path().ends_with("/token/exchange") {
                        return Err(CliError::failed(
                            format!(
                                "`{}` redirects to another host, to which the JWT is not sent",
                                self.url()
                            ),
                            "set the Director's own URL with `--url`",
                        ));
                    }
                    // Credentials are sent only to the host that they were given for.
                    request.headers_mut().remove(header::AUTHORIZATION);
                    request.headers_mut().remove(TOKEN_HEADER);
                }
                *request.url_mut() = to;
            }
            Err(CliError::failed(
                format!("too many redirects from `{}`", self.url()),
                "set the Director's own URL with `--url`",
            ))
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(self.unreachable(format!("no response within {} s", timeout.as_secs()))),
        }
    }

    /// The new URL of a redirected request. Later requests use the new location.
    fn redirected(&self, url: &Url, response: &Response) -> Result<Url, CliError> {
        let location = response.headers().get(header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        let to = location.and_then(|location| url.join(location).ok());
        // A redirect to a host would leave the socket.
        let is_reachable = |to: &Url| self.route().socket.is_none() || to.origin() == url.origin();
        let Some((to, base)) = to
            .filter(is_reachable)
            .and_then(|to| Some((to.clone(), new_base(&self.route().base, url, &to)?)))
        else {
            let status = response.status();
            return Err(CliError::failed(
                format!(
                    "`{}` responded {status} with a redirect to `{}`, which is not a URL of a Director",
                    self.url(),
                    location.unwrap_or("nowhere").escape_debug()
                ),
                "is there a login page in between? set the URL of the Director itself with `--url`",
            ));
        };
        let old = self.route();
        let route = match &old.socket {
            Some(_) => Route { base, ..old },
            None => Route::to(base.as_str(), &old.trust)?,
        };
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = route;
        Ok(to)
    }

    fn refused(&self, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> CliError {
        let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
        let is_of_director = !refusal.error.is_empty();
        let message = match refusal.error.is_empty() {
            true => format!(
                "`{}` responded {status}, but not as a Director: is there a proxy in between, or is the URL wrong?",
                self.url()
            ),
            false => refusal.error,
        };
        let (status, code) = (status.as_u16(), refusal.code);
        match status {
            401 => CliError::Denied {
                status,
                hint: self.login_hint(is_of_director),
                message,
            },
            400 if code == "https_required" => CliError::Untrusted {
                url: self.url().to_owned(),
                reason: message,
                hint: USE_HTTPS,
            },
            403 if ["forbidden", "exchange_refused"].contains(&code.as_str()) => CliError::Denied {
                status,
                hint: self.role_hint(),
                message,
            },
            429 | 502..=504 => CliError::Busy {
                status,
                code,
                message,
                retry_after,
            },
            _ => CliError::Rejected {
                status,
                code,
                message,
                faults: refusal.errors,
            },
        }
    }

    /// The next step after a 401.
    fn login_hint(&self, is_of_director: bool) -> String {
        let url = self.url();
        if !is_of_director {
            return "a proxy in between requires credentials of its own: put user and password into the URL, \
                    `https://user:password@host`"
                .to_owned();
        }
        let now = self.route();
        match self.token.as_deref() {
            None => format!("log in with `atq login {url}`, or set `ATQ_TOKEN`"),
            Some((_, own)) if *own != origin(&now.base) => {
                let to = now.redacted();
                format!(
                    "`{url}` redirects to `{to}`, to which the token is not sent: use `{to}` as the URL"
                )
            }
            Some((ClientToken { token, source }, _)) => format!(
                "the Director received the token `{}` of {source}; `atq login {url}` stores a new one",
                token.id()
            ),
        }
    }

    /// The next step after a 403.
    fn role_hint(&self) -> String {
        let url = self.url();
        format!(
            "ask an administrator of the Director for a token with this role, and store it with `atq login {url}`"
        )
    }

    fn request_error(&self, error: &reqwest::Error) -> CliError {
        match explain(error, self.route().base.scheme()) {
            Some((reason, hint)) => CliError::Untrusted {
                url: self.url().to_owned(),
                reason,
                hint,
            },
            None => self.unreachable(innermost(error).to_string()),
        }
    }

    /// Removes the object at `path`. With an invocation, a task is removed only if that invocation may end the run. After a
    /// lost response the request is repeated, and "not found" then counts as success.
    ///
    /// # Errors
    /// When the object does not exist, belongs to another invocation, or cannot be removed completely.
    pub async fn remove(
        &self,
        path: &str,
        timeout: Duration,
        invocation: Option<&Invocation>,
    ) -> Result<(), CliError> {
        let sign = |request| match invocation {
            Some(invocation) => invocation.sign(request),
            None => request,
        };
        let mut is_retry = false;
        with_retries(|| {
            let may_be_done = std::mem::replace(&mut is_retry, true);
            let request = self.request(Method::DELETE, path).map(&sign);
            async move {
                match self.send_within(request?, timeout).await {
                    Err(error) if may_be_done && error.is_not_found() => Ok(()),
                    sent => sent.map(drop),
                }
            }
        })
        .await
    }

    /// An error for an unreachable Director.
    pub fn unreachable(&self, reason: String) -> CliError {
        let url = self.url().to_owned();
        CliError::Unreachable { url, reason }
    }
}

/// Whether two URLs are those of the same Director, with or without a trailing `/api`. User and password are ignored.
pub fn is_same_url(one: &str, other: &str) -> bool {
    matches!((redacted_url(one), redacted_url(other)), (Ok(one), Ok(other)) if one == other)
}

/// Scheme, host and port.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Retries a call that is safe to repeat.
///
/// # Errors
/// The last error, when no retry is left or a retry cannot help.
async fn with_retries<T, Fut>(call: impl FnMut() -> Fut) -> Result<T, CliError>
where
    Fut: Future<Output = Result<T, CliError>>,
{
    let mut failures = 0;
    retry_with(RETRY_PAUSES, call, |error, pause| {
        failures += 1;
        let max_retries = match error {
            CliError::Unreachable { .. } => MAX_UNREACHABLE_RETRIES,
            _ => RETRY_PAUSES.len(),
        };
        let wanted = error.retry_after().unwrap_or_default();
        let may_help = failures <= max_retries && is_temporary(error) && wanted <= MAX_RETRY_AFTER;
        may_help.then(|| pause.max(wanted))
    })
    .await
}

/// A copy of the request.
fn copy(request: &RequestBuilder) -> Result<RequestBuilder, CliError> {
    request
        .try_clone()
        .ok_or_else(|| CliError::failed("the request cannot be repeated", ""))
}

/// The value of `Retry-After` in seconds; a date is ignored.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
