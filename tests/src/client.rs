//! A client of the Director's API.

use anyhow::{Context, Result, bail};
use atq_api_spec::bundle::Upload;
use atq_api_spec::task::{Step, Task, TaskAccepted, TaskEvent, TaskEvents, TaskStatus};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Response, StatusCode};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// A client of one Director. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Base URL, without a trailing slash.
    pub url: String,
}

/// A client that uses no proxy.
pub(crate) fn direct() -> reqwest::ClientBuilder {
    // An error means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

impl Client {
    /// A client for the Director at `url`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(url: impl Into<String>) -> Result<Self> {
        Self::with_idle_connections(usize::MAX, url.into())
    }

    /// A client that closes its connection after each response.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn closing(url: impl Into<String>) -> Result<Self> {
        Self::with_idle_connections(0, url.into())
    }

    /// A client that sends this token with each request, and trusts only the certificates of this authority (file in PEM).
    ///
    /// # Errors
    /// When the file cannot be read, or the HTTP client cannot be set up.
    pub fn with(
        url: impl Into<String>,
        token: Option<&str>,
        authority: Option<&Path>,
    ) -> Result<Self> {
        let mut http = direct();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            http = http.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        if let Some(authority) = authority {
            let certificate = Certificate::from_pem(&std::fs::read(authority)?)?;
            http = http.tls_certs_only([certificate]);
        }
        Ok(Self {
            http: http.build()?,
            url: url.into(),
        })
    }

    fn with_idle_connections(connections: usize, url: String) -> Result<Self> {
        let http = direct().pool_max_idle_per_host(connections).build()?;
        Ok(Self { http, url })
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// When no response arrives.
    pub async fn get(&self, path: &str) -> Result<Response> {
        let url = format!("{}{path}", self.url);
        self.http
            .get(&url)
            .send()
            .await
            .with_context(|| format!("GET {url}"))
    }

    /// Opens a task's event stream, after the event with the number `last`.
    ///
    /// # Errors
    /// When no response arrives.
    pub async fn stream_events(&self, id: &str, last: Option<u64>) -> Result<Response> {
        let url = format!("{}/api/task/{id}/events", self.url);
        let mut request = self.http.get(&url).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.send().await.with_context(|| format!("GET {url}"))
    }

    /// Uploads a zip and returns the bundle's id.
    ///
    /// # Errors
    /// When the Director rejects it.
    pub async fn upload(&self, zip: Vec<u8>) -> Result<String> {
        let part = reqwest::multipart::Part::bytes(zip).file_name("bundle.zip");
        let form = reqwest::multipart::Form::new().part("file", part);
        let url = format!("{}/api/databind/upload", self.url);
        let response = self
            .http
            .post(&url)
            .multipart(form)
            .send()
            .await
            .context("POST /databind/upload")?;
        Ok(expect::<Upload>(response, StatusCode::OK).await?.id)
    }

    /// Uploads the zip at `path` as a stream and returns the bundle's id.
    ///
    /// # Errors
    /// When the Director rejects it.
    pub async fn upload_file(&self, path: &Path) -> Result<String> {
        let file = tokio::fs::File::open(path).await?;
        let bytes = file.metadata().await?.len();
        let part = reqwest::multipart::Part::stream_with_length(file, bytes);
        let form = reqwest::multipart::Form::new().part("file", part.file_name("bundle.zip"));
        let url = format!("{}/api/databind/upload", self.url);
        let response = self.http.post(&url).multipart(form).send().await;
        let response = response.context("POST /databind/upload")?;
        Ok(expect::<Upload>(response, StatusCode::OK).await?.id)
    }

    /// Sends a definition and returns the response, whatever its status.
    ///
    /// # Errors
    /// When no response arrives.
    pub async fn put(&self, payload: &Value) -> Result<Response> {
        let url = format!("{}/api/task/", self.url);
        self.http
            .put(&url)
            .json(payload)
            .send()
            .await
            .context("PUT /task")
    }

    /// Starts a task.
    ///
    /// # Errors
    /// When the Director rejects it.
    pub async fn start(&self, payload: &Value) -> Result<TaskAccepted> {
        expect(self.put(payload).await?, StatusCode::OK).await
    }

    /// Reads the task, also when it could not be created (500 with the task object).
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn task(&self, id: &str) -> Result<Task> {
        let response = self.get(&format!("/api/task/{id}")).await?;
        let status = response.status();
        let body = response.text().await?;
        match status {
            StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR => {
                serde_json::from_str(&body).with_context(|| format!("task `{id}`: {body}"))
            }
            _ => bail!("task `{id}`: {status}: {body}"),
        }
    }

    /// Polls the task until `reached` returns true.
    ///
    /// # Errors
    /// On a timeout; the message contains the last state of the task.
    pub async fn until(
        &self,
        id: &str,
        timeout: Duration,
        reached: impl Fn(&Task) -> bool,
    ) -> Result<Task> {
        let begun = Instant::now();
        loop {
            let task = self.task(id).await?;
            if reached(&task) {
                return Ok(task);
            }
            if begun.elapsed() > timeout {
                bail!(
                    "task `{id}` did not reach the expected state within {timeout:?}; it is {task:#?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the task has an outcome.
    ///
    /// # Errors
    /// On a timeout.
    pub async fn outcome(&self, id: &str, timeout: Duration) -> Result<Task> {
        self.until(id, timeout, |task| {
            !matches!(task.status, TaskStatus::Initializing | TaskStatus::Started)
        })
        .await
    }

    /// Waits until the task is in the step `done`.
    ///
    /// # Errors
    /// On a timeout.
    pub async fn done(&self, id: &str, timeout: Duration) -> Result<Task> {
        self.until(id, timeout, |task| task.step == Step::Done)
            .await
    }

    /// Reads log lines as text; `query` begins with `?` or is empty.
    ///
    /// # Errors
    /// When the response is not 200.
    pub async fn logs(&self, id: &str, query: &str) -> Result<String> {
        let response = self.get(&format!("/api/task/{id}/logs{query}")).await?;
        let status = response.status();
        let body = response.text().await?;
        match status {
            StatusCode::OK => Ok(body),
            _ => bail!("logs of `{id}`: {status}: {body}"),
        }
    }

    /// The steps that a task has begun, in order.
    ///
    /// # Errors
    /// When the task does not exist.
    pub async fn steps(&self, id: &str) -> Result<Vec<String>> {
        let begun = self.events(id, "stepStarted").await?;
        Ok(begun
            .iter()
            .filter_map(|event| event.data["step"].as_str().map(str::to_owned))
            .collect())
    }

    /// The events of one kind in a task's history, oldest first.
    ///
    /// # Errors
    /// When the task does not exist.
    pub async fn events(&self, id: &str, kind: &str) -> Result<Vec<TaskEvent>> {
        let response = self.get(&format!("/api/task/{id}/events")).await?;
        let mut history: TaskEvents = expect(response, StatusCode::OK).await?;
        history.events.retain(|event| event.event == kind);
        Ok(history.events)
    }

    /// Requests a stop of a task.
    ///
    /// # Errors
    /// When no response arrives.
    pub async fn stop(&self, id: &str) -> Result<StatusCode> {
        self.post(&format!("task/{id}/stop")).await
    }

    /// Requests a stop without grace periods.
    ///
    /// # Errors
    /// When no response arrives.
    pub async fn stop_by_force(&self, id: &str) -> Result<StatusCode> {
        self.post(&format!("task/{id}/stop?force=true")).await
    }

    async fn post(&self, path: &str) -> Result<StatusCode> {
        let url = format!("{}/api/{path}", self.url);
        let response = self.http.post(&url).send().await;
        Ok(response.with_context(|| format!("POST {path}"))?.status())
    }

    /// Deletes a task and returns status and body of the response.
    ///
    /// # Errors
    /// When no response arrives.
    pub async fn delete(&self, id: &str) -> Result<(StatusCode, String)> {
        self.delete_at(&format!("task/{id}")).await
    }

    /// Deletes a task without grace periods and returns status and body of the response.
    ///
    /// # Errors
    /// When no response arrives.
    pub async fn delete_by_force(&self, id: &str) -> Result<(StatusCode, String)> {
        self.delete_at(&format!("task/{id}?force=true")).await
    }

    async fn delete_at(&self, path: &str) -> Result<(StatusCode, String)> {
        let url = format!("{}/api/{path}", self.url);
        let response = self.http.delete(&url).send().await.context("DELETE task")?;
        Ok((response.status(), response.text().await?))
    }

    /// Deletes all bundles.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub async fn delete_bundles(&self) -> Result<()> {
        let response = self.get("/api/databind/list").await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        for bundle in expect::<Vec<Upload>>(response, StatusCode::OK).await? {
            let (status, body) = self.delete_bundle(&bundle.id).await?;
            if status != StatusCode::NO_CONTENT {
                bail!("DELETE bundle: {status} {body}");
            }
        }
        Ok(())
    }

    /// Deletes a bundle and returns status and body of the response.
    ///
    /// # Errors
    /// When no response arrives.
    pub async fn delete_bundle(&self, id: &str) -> Result<(StatusCode, String)> {
        let url = format!("{}/api/databind/{id}", self.url);
        let response = self.http.delete(&url).send().await;
        let response = response.context("DELETE bundle")?;
        Ok((response.status(), response.text().await?))
    }
}

async fn expect<T: serde::de::DeserializeOwned>(
    response: Response,
    expected: StatusCode,
) -> Result<T> {
    let (status, url) = (response.status(), response.url().clone());
    let body = response.text().await?;
    if status != expected {
        bail!("{url}: {status} instead of {expected}: {body}");
    }
    serde_json::from_str(&body).with_context(|| format!("{url}: {body}"))
}
