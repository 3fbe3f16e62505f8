//! The calls to the Director. What only asks is tried again for a moment when no answer comes; so is what
//! may safely be said twice. Everything else is said once.

use crate::again::may_pass;
use crate::run::invocation::Invocation;
use crate::trouble::{Trouble, innermost};
use crate::trust::{Trust, explain};
use atq_api_spec::task::{FieldError, Task};
use atq_patience::retry_with;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

mod route;

use route::{Route, new_base, shown};

/// Until the answer begins.
const ANSWER: Duration = Duration::from_secs(30);
/// The Director waits up to 90 s for the clean-up before it says what is left.
pub const CLEAN_UP: Duration = Duration::from_secs(100);
/// Between two pieces of an answer.
pub const PIECE: Duration = Duration::from_secs(60);
/// Backoff between retries. An unreachable Director is retried [`LOST`] times.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
const LOST: usize = 3;
/// The longest `Retry-After` that a command waits for.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// The bytes of a segment of a path that are escaped: all but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Redirects that are followed for one request.
const HOPS: usize = 5;

/// A Director somewhere. Copies share where it is: a redirect is found out once.
#[derive(Debug, Clone)]
pub struct Director {
    route: Arc<Mutex<Route>>,
    /// Where it was looked for, without what is a secret in it.
    shown: String,
}

/// What an error's body has; anything may be missing when something else than a Director answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    code: String,
    errors: Vec<FieldError>,
}

impl Director {
    /// The Director at `url`, with or without `/api` at its end.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn at(url: &str) -> Result<Self, Trouble> {
        Self::trusting(url, &Trust::default())
    }

    /// [`Director::at`], with certificates that are trusted besides those of the machine.
    ///
    /// # Errors
    /// When that is no URL, or there is no certificate to trust.
    pub fn trusting(url: &str, trust: &Trust) -> Result<Self, Trouble> {
        let route = Route::to(url, trust)?;
        Ok(Self {
            shown: shown(&route.base),
            route: Arc::new(Mutex::new(route)),
        })
    }

    /// Where it is, for people: without user and password.
    pub fn url(&self) -> &str {
        &self.shown
    }

    /// A request; `path` is relative to the base, for example `task/load`, with its query.
    ///
    /// # Errors
    /// When that is no path.
    pub fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Trouble> {
        let route = self.route();
        let url = route.base.join(path).map_err(|error| {
            Trouble::usage(format!("`{path}` cannot be asked for: {error}"), "")
        })?;
        Ok(route.client.request(method, url))
    }

    fn route(&self) -> Route {
        // Nothing panics while it is held.
        let route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        route.clone()
    }

    /// What is at `path`, as JSON.
    ///
    /// # Errors
    /// When the Director refuses, cannot be reached, or says something else.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        let request = self
            .request(Method::GET, path)?
            .header(header::ACCEPT, "application/json");
        let response = self.send_again(request).await?;
        self.read(response).await
    }

    /// The task with this name, also one that could not be started.
    ///
    /// # Errors
    /// When there is none, the Director refuses, or cannot be reached.
    pub async fn task(&self, name: &str) -> Result<Task, Trouble> {
        let request = self.request(Method::GET, &format!("task/{}", segment(name)))?;
        retried(async || {
            let response = self.exchange(copy(&request)?, ANSWER).await?;
            self.read_task(response).await
        })
        .await
    }

    /// A task that could not be started comes with the status 500, as in 2018.
    async fn read_task(&self, response: Response) -> Result<Task, Trouble> {
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = self.body(response).await?;
        match serde_json::from_slice(&body) {
            Ok(task) => Ok(task),
            Err(_) if !status.is_success() => Err(self.refused(status, retry_after, &body)),
            Err(error) => Err(self.stranger(&error)),
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is something else.
    pub async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Trouble> {
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.stranger(&error))
    }

    /// All of the body, as long as it goes on.
    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        loop {
            match tokio::time::timeout(PIECE, response.chunk()).await {
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
                Ok(Ok(None)) => return Ok(body),
                Ok(Err(error)) => return Err(self.silent(&error)),
                Err(_) => return Err(self.stuck()),
            }
        }
    }

    /// An answer has begun, and does not go on.
    pub fn stuck(&self) -> Trouble {
        self.unreachable(format!(
            "the answer does not go on for {} s",
            PIECE.as_secs()
        ))
    }

    fn stranger(&self, error: &serde_json::Error) -> Trouble {
        let message = format!("`{}` answers, but not as a Director: {error}", self.url());
        Trouble::failed(message, "do the versions fit? `atq version` shows them")
    }

    /// Sends what may be said twice, at most four times; six times to one who is busy.
    ///
    /// # Errors
    /// When the Director refuses, or no answer comes.
    pub async fn send_again(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        match request.try_clone() {
            Some(_) => retried(async || self.send(copy(&request)?).await).await,
            None => self.send(request).await,
        }
    }

    /// Sends it once, and waits half a minute for the answer to begin.
    ///
    /// # Errors
    /// When the Director refuses, or no answer comes.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        self.send_within(request, ANSWER).await
    }

    /// Sends it once, and waits so long for the answer to begin.
    ///
    /// # Errors
    /// When the Director refuses, or no answer comes.
    pub async fn send_within(
        &self,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Response, Trouble> {
        let response = self.exchange(request, patience).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => {
                let retry_after = retry_after(&response);
                let body = self.body(response).await.unwrap_or_default();
                Err(self.refused(status, retry_after, &body))
            }
        }
    }

    /// The answer, whatever it is. A redirect is followed with the same method and body; it counts for all requests
    /// after it.
    ///
    /// # Errors
    /// When none comes, or it redirects to where no Director can be.
    pub async fn exchange(
        &self,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Response, Trouble> {
        let built = request.build().map_err(|error| self.silent(&error))?;
        let exchange = async {
            let mut request = built;
            for _ in 0..HOPS {
                let (url, copy) = (request.url().clone(), request.try_clone());
                let answer = self.route().client.execute(request).await;
                let response = answer.map_err(|error| self.silent(&error))?;
                if !response.status().is_redirection() {
                    return Ok(response);
                }
                let to = self.redirected(&url, &response)?;
                request =
                    copy.ok_or_else(|| self.unreachable(format!("it redirects to `{to}`")))?;
                if to.origin() != url.origin() {
                    // A password is for the host that it was given for.
                    request.headers_mut().remove(header::AUTHORIZATION);
                }
                *request.url_mut() = to;
            }
            Err(Trouble::failed(
                format!("`{}` redirects in a circle", self.url()),
                "give the Director's own URL with `--url`",
            ))
        };
        match tokio::time::timeout(patience, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(self.unreachable(format!("no answer within {} s", patience.as_secs()))),
        }
    }

    /// Where the request to `url` is to go instead. From now on everything goes there.
    fn redirected(&self, url: &Url, response: &Response) -> Result<Url, Trouble> {
        let location = response.headers().get(header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        let to = location.and_then(|location| url.join(location).ok());
        let Some((to, base)) =
            to.and_then(|to| Some((to.clone(), new_base(&self.route().base, url, &to)?)))
        else {
            let status = response.status();
            return Err(Trouble::failed(
                format!(
                    "`{}` answers {status} and redirects to `{}`, which is no place of a Director",
                    self.url(),
                    location.unwrap_or("nowhere").escape_debug()
                ),
                "is a login in between? `--url` takes the URL of the Director itself",
            ));
        };
        let route = Route::to(base.as_str(), &self.route().trust)?;
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = route;
        Ok(to)
    }

    fn refused(&self, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Trouble {
        let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
        let message = match refusal.error.is_empty() {
            true => format!(
                "`{}` answers {status}, but not as a Director: is a proxy in between, or the URL another one?",
                self.url()
            ),
            false => refusal.error,
        };
        let (status, code) = (status.as_u16(), refusal.code);
        match status {
            429 | 502..=504 => Trouble::Busy {
                status,
                code,
                message,
                retry_after,
            },
            _ => Trouble::Rejected {
                status,
                code,
                message,
                faults: refusal.errors,
            },
        }
    }

    fn silent(&self, error: &reqwest::Error) -> Trouble {
        match explain(error) {
            Some((reason, hint)) => Trouble::Untrusted {
                url: self.url().to_owned(),
                reason,
                hint,
            },
            None => self.unreachable(innermost(error).to_string()),
        }
    }

    /// Removes a task with all that is kept of it; of an invocation only if it may.
    ///
    /// # Errors
    /// When there is no such task, it is of another invocation, or something is left of it.
    pub async fn remove_task(
        &self,
        name: &str,
        invocation: Option<&Invocation>,
    ) -> Result<(), Trouble> {
        let path = format!("task/{}", segment(name));
        let sign = |request| match invocation {
            Some(invocation) => invocation.sign(request),
            None => request,
        };
        self.remove_with(&path, CLEAN_UP, sign).await
    }

    /// Removes what is at `path`. When an answer is lost it is asked again: that nothing is there then is what was
    /// wanted.
    ///
    /// # Errors
    /// When there is nothing, or it cannot be removed.
    pub async fn remove(&self, path: &str, patience: Duration) -> Result<(), Trouble> {
        self.remove_with(path, patience, |request| request).await
    }

    async fn remove_with(
        &self,
        path: &str,
        patience: Duration,
        sign: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<(), Trouble> {
        let mut is_retry = false;
        retried(|| {
            let may_be_done = std::mem::replace(&mut is_retry, true);
            let request = self.request(Method::DELETE, path).map(&sign);
            async move {
                match self.send_within(request?, patience).await {
                    Err(trouble) if may_be_done && trouble.is_absence() => Ok(()),
                    sent => sent.map(drop),
                }
            }
        })
        .await
    }

    /// No Director answers.
    pub fn unreachable(&self, reason: String) -> Trouble {
        let url = self.url().to_owned();
        Trouble::Unreachable { url, reason }
    }
}

/// Repeats a call that is safe to repeat.
///
/// # Errors
/// The last error, when no retry is left or another one cannot help.
async fn retried<T, Fut>(call: impl FnMut() -> Fut) -> Result<T, Trouble>
where
    Fut: Future<Output = Result<T, Trouble>>,
{
    let mut failures = 0;
    retry_with(PAUSES, call, |trouble, pause| {
        failures += 1;
        let most = match trouble {
            Trouble::Unreachable { .. } => LOST,
            _ => PAUSES.len(),
        };
        let wanted = trouble.retry_after().unwrap_or_default();
        let may_help = failures <= most && may_pass(trouble) && wanted <= LONGEST_RETRY;
        may_help.then(|| pause.max(wanted))
    })
    .await
}

/// The same request again.
fn copy(request: &RequestBuilder) -> Result<RequestBuilder, Trouble> {
    request
        .try_clone()
        .ok_or_else(|| Trouble::failed("the request cannot be said twice", ""))
}

/// How long to wait, in seconds; a date is not understood.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

#[cfg(test)]
mod tests;
