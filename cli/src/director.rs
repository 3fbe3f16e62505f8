//! The calls to the Director. What only asks is tried again for a moment when no answer comes; so is what
//! may safely be said twice. Everything else is said once.

use crate::client::client;
use crate::trouble::Trouble;
use crate::trust::{Trust, explain};
use atq_api_spec::task::{FieldError, Task};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::sleep;

/// Until the answer begins.
const ANSWER: Duration = Duration::from_secs(30);
/// The Director waits up to 90 s for the clean-up before it says what is left.
const CLEAN_UP: Duration = Duration::from_secs(100);
/// Between two pieces of an answer.
pub const PIECE: Duration = Duration::from_secs(60);
/// Pauses between tries.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// A Director somewhere.
#[derive(Debug, Clone)]
pub struct Director {
    base: Url,
    /// The base without what is a secret in it.
    shown: String,
    client: reqwest::Client,
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
        let wrong = |why: String| {
            Trouble::usage(
                format!("`{}` is not the URL of a Director: {why}", harmless(url)),
                "for example http://127.0.0.1:8080",
            )
        };
        let trimmed = url.trim_end_matches('/').trim_end_matches("/api");
        let base =
            Url::parse(&format!("{trimmed}/api/")).map_err(|error| wrong(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(wrong(
                "expected `http://` or `https://` and a host".to_owned(),
            ));
        }
        if base.query().is_some() || base.fragment().is_some() || base.path().contains('@') {
            return Err(wrong(
                "`?`, `#`, and `@` after the host have no place in it; in a password `/`, `?` and `#` are \
                 `%2F`, `%3F` and `%23`"
                    .to_owned(),
            ));
        }
        // The second one in a process is refused, and is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = client(&base, trust)?;
        let shown = shown(&base);
        Ok(Self {
            base,
            shown,
            client,
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
        let url = self.base.join(path).map_err(|error| {
            Trouble::usage(format!("`{path}` cannot be asked for: {error}"), "")
        })?;
        Ok(self.client.request(method, url))
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
        let mut pauses = PAUSES.into_iter();
        loop {
            let copy = request
                .try_clone()
                .ok_or_else(|| Trouble::failed("the request cannot be said twice", ""))?;
            let failed = match tokio::time::timeout(ANSWER, copy.send()).await {
                Ok(Ok(response)) => return self.read_task(response).await,
                Ok(Err(error)) => self.silent(&error),
                Err(_) => self.unreachable(format!("no answer within {} s", ANSWER.as_secs())),
            };
            match pauses.next() {
                Some(pause) => sleep(pause).await,
                None => return Err(failed),
            }
        }
    }

    /// A task that could not be started comes with the status 500, as in 2018.
    async fn read_task(&self, response: Response) -> Result<Task, Trouble> {
        let status = response.status();
        let body = self.body(response).await?;
        match serde_json::from_slice(&body) {
            Ok(task) => Ok(task),
            Err(_) if !status.is_success() => Err(self.refused(status, &body)),
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

    /// Sends what may be said twice, at most four times.
    ///
    /// # Errors
    /// When the Director refuses, or no answer comes.
    pub async fn send_again(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        for pause in PAUSES {
            let Some(copy) = request.try_clone() else {
                break;
            };
            match self.send(copy).await {
                Err(Trouble::Unreachable { .. }) => sleep(pause).await,
                answered => return answered,
            }
        }
        self.send(request).await
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
        let answer = tokio::time::timeout(patience, request.send()).await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.silent(&error)),
            Err(_) => {
                return Err(self.unreachable(format!("no answer within {} s", patience.as_secs())));
            }
        };
        match response.status() {
            status if status.is_success() => Ok(response),
            status => {
                let body = self.body(response).await.unwrap_or_default();
                Err(self.refused(status, &body))
            }
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Trouble {
        let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
        let message = match refusal.error.is_empty() {
            true => format!("`{}` answers {status}", self.url()),
            false => refusal.error,
        };
        Trouble::Rejected {
            status: status.as_u16(),
            code: refusal.code,
            message,
            faults: refusal.errors,
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

    /// Removes a task with all that is kept of it. Said once: when the answer is lost, a second try could not
    /// tell success from a wrong name.
    ///
    /// # Errors
    /// When there is no such task, or something is left of it.
    pub async fn remove_task(&self, name: &str) -> Result<(), Trouble> {
        let request = self.request(Method::DELETE, &format!("task/{}", segment(name)))?;
        self.send_within(request, CLEAN_UP).await.map(drop)
    }

    /// No Director answers.
    pub fn unreachable(&self, reason: String) -> Trouble {
        let url = self.url().to_owned();
        Trouble::Unreachable { url, reason }
    }
}

fn shown(base: &Url) -> String {
    let mut url = base.clone();
    // Impossible only for URLs without a host, which are refused.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().trim_end_matches("/api/").to_owned()
}

/// What cannot be read as a URL, without what is before an `@`, which may be a password.
fn harmless(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

/// What an error comes from; what wraps it says only where it came through.
pub fn innermost(error: &dyn std::error::Error) -> &dyn std::error::Error {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    let mut url = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                url.push(char::from(byte));
            }
            _ => url += &format!("%{byte:02X}"),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_may_have_the_base_path_or_not() {
        for url in [
            "http://a:1",
            "http://a:1/",
            "http://a:1/api",
            "http://a:1/api/",
        ] {
            let director = Director::at(url).unwrap();
            assert_eq!(director.url(), "http://a:1");
            let request = director
                .request(Method::GET, "task/x?y=1")
                .unwrap()
                .build()
                .unwrap();
            assert_eq!(request.url().as_str(), "http://a:1/api/task/x?y=1");
        }
        assert_eq!(
            Director::at("https://b/atq").unwrap().url(),
            "https://b/atq"
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let director = Director::at("http://me:secret@a:1/api").unwrap();
        assert_eq!(director.url(), "http://a:1");
        let trouble = director.unreachable("no".to_owned()).to_string();
        assert!(!trouble.contains("secret"), "{trouble}");
        let trouble = Director::at("ftp://me:secret@a").unwrap_err().to_string();
        assert!(!trouble.contains("secret"), "{trouble}");
    }

    #[test]
    fn no_part_of_a_password_is_shown() {
        for url in [
            "http://me:se/cret@a:1",
            "http://me:12#secret@a:1",
            "http://me:12/secret@a:1",
            "http://me:12?secret@a",
            "http://me:se@cret@a:99999",
            "me:secret@a",
            "http://me:secret@",
        ] {
            match Director::at(url) {
                Ok(director) => assert!(!director.url().contains("cret"), "{url}"),
                Err(trouble) => assert!(!trouble.to_string().contains("cret"), "{trouble}"),
            }
        }
    }

    #[test]
    fn what_is_no_url_is_told() {
        for url in [
            "127.0.0.1:8080",
            "director",
            "ftp://a",
            "",
            "http://a:1?x",
            "http://a:1#x",
        ] {
            let trouble = Director::at(url).unwrap_err();
            assert_eq!(trouble.exit(), crate::exit::Exit::Usage, "{url}");
        }
    }
}
