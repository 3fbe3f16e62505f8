//! The calls to the Director. What only asks is tried again for a moment when no answer comes; so is what
//! may safely be said twice. Everything else is said once.

use crate::trouble::Trouble;
use atq_api_spec::task::{FieldError, Task};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::sleep;

/// Until there is a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Until the answer begins.
const ANSWER: Duration = Duration::from_secs(30);
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
        let wrong = |why: String| {
            Trouble::usage(
                format!("`{url}` is not the URL of a Director: {why}"),
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
        // The second one in a process is refused, and is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .user_agent(concat!("atq/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .build()
            .map_err(|error| Trouble::failed(format!("no HTTP client: {error}"), ""))?;
        Ok(Self { base, client })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches("/api/")
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
        let body = response
            .bytes()
            .await
            .map_err(|error| self.silent(&error))?;
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
        let body = response
            .bytes()
            .await
            .map_err(|error| self.silent(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.stranger(&error))
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
                let body = response.bytes().await.unwrap_or_default();
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
        let mut reason: &dyn std::error::Error = error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        self.unreachable(reason.to_string())
    }

    /// No Director answers.
    pub fn unreachable(&self, reason: String) -> Trouble {
        let url = self.url().to_owned();
        Trouble::Unreachable { url, reason }
    }
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
    fn what_is_no_url_is_told() {
        for url in ["127.0.0.1:8080", "director", "ftp://a", ""] {
            let trouble = Director::at(url).unwrap_err();
            assert_eq!(trouble.exit(), crate::exit::Exit::Usage, "{url}");
        }
    }
}
