//! A client of the Director's API.

use anyhow::{Context, Result, bail};
use atq_api_spec::bundle::Upload;
use atq_api_spec::task::{Step, Task, TaskAccepted, TaskEvent, TaskEvents, TaskStatus};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A client of one Director. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Base URL, without a slash at its end.
    pub url: String,
}

/// A client that uses no proxy.
pub(crate) fn direct() -> reqwest::ClientBuilder {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

impl Client {
    /// A client for the Director at `url`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(url: impl Into<String>) -> Result<Self> {
        Self::keeping(usize::MAX, url.into())
    }

    /// One that closes its connection after each answer.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn closing(url: impl Into<String>) -> Result<Self> {
        Self::keeping(0, url.into())
    }

    fn keeping(connections: usize, url: String) -> Result<Self> {
        let http = direct().pool_max_idle_per_host(connections).build()?;
        Ok(Self { http, url })
    }

    /// Sends a GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Response> {
        let url = format!("{}{path}", self.url);
        self.http
            .get(&url)
            .send()
            .await
            .with_context(|| format!("GET {url}"))
    }

    /// Follows a task's events as a stream, after the one with the number `last`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn stream_events(&self, id: &str, last: Option<u64>) -> Result<Response> {
        let url = format!("{}/api/task/{id}/events", self.url);
        let mut request = self.http.get(&url).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.send().await.with_context(|| format!("GET {url}"))
    }

    /// Uploads a zip; gives the bundle's id.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn upload(&self, zip: Vec<u8>) -> Result<String> {
        let part = reqwest::multipart::Part::bytes(zip).file_name("bundle.zip");
        let form = reqwest::multipart::Form::new().part("file", part);
        let url = format!("{}/api/databind/upload", self.url);
        let answer = self
            .http
            .post(&url)
            .multipart(form)
            .send()
            .await
            .context("POST /databind/upload")?;
        Ok(expect::<Upload>(answer, StatusCode::OK).await?.id)
    }

    /// Uploads the zip at `path` without holding it in memory; gives the bundle's id.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn upload_file(&self, path: &std::path::Path) -> Result<String> {
        let file = tokio::fs::File::open(path).await?;
        let bytes = file.metadata().await?.len();
        let part = reqwest::multipart::Part::stream_with_length(file, bytes);
        let form = reqwest::multipart::Form::new().part("file", part.file_name("bundle.zip"));
        let url = format!("{}/api/databind/upload", self.url);
        let answer = self.http.post(&url).multipart(form).send().await;
        let answer = answer.context("POST /databind/upload")?;
        Ok(expect::<Upload>(answer, StatusCode::OK).await?.id)
    }

    /// Sends a definition and gives the answer, whatever it is.
    ///
    /// # Errors
    /// When there is no answer.
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
    /// When it is not taken.
    pub async fn start(&self, payload: &Value) -> Result<TaskAccepted> {
        expect(self.put(payload).await?, StatusCode::OK).await
    }

    /// The task, also when it could not be created (500 with the task object).
    ///
    /// # Errors
    /// When there is none.
    pub async fn task(&self, id: &str) -> Result<Task> {
        let answer = self.get(&format!("/api/task/{id}")).await?;
        let status = answer.status();
        let body = answer.text().await?;
        match status {
            StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR => {
                serde_json::from_str(&body).with_context(|| format!("task `{id}`: {body}"))
            }
            _ => bail!("task `{id}`: {status}: {body}"),
        }
    }

    /// Waits until `reached` holds.
    ///
    /// # Errors
    /// When it does not within `patience`; the message has the task as last seen.
    pub async fn until(
        &self,
        id: &str,
        patience: Duration,
        reached: impl Fn(&Task) -> bool,
    ) -> Result<Task> {
        let begun = Instant::now();
        loop {
            let task = self.task(id).await?;
            if reached(&task) {
                return Ok(task);
            }
            if begun.elapsed() > patience {
                bail!("task `{id}` did not get there within {patience:?}; it is {task:#?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the task's outcome is told.
    ///
    /// # Errors
    /// When it is not within `patience`.
    pub async fn outcome(&self, id: &str, patience: Duration) -> Result<Task> {
        self.until(id, patience, |task| {
            !matches!(task.status, TaskStatus::Initializing | TaskStatus::Started)
        })
        .await
    }

    /// Waits until nothing more happens to the task.
    ///
    /// # Errors
    /// When that is not so within `patience`.
    pub async fn done(&self, id: &str, patience: Duration) -> Result<Task> {
        self.until(id, patience, |task| task.step == Step::Done)
            .await
    }

    /// Log lines as text; `query` begins with `?` or is empty.
    ///
    /// # Errors
    /// When there are none to be had.
    pub async fn logs(&self, id: &str, query: &str) -> Result<String> {
        let answer = self.get(&format!("/api/task/{id}/logs{query}")).await?;
        let status = answer.status();
        let body = answer.text().await?;
        match status {
            StatusCode::OK => Ok(body),
            _ => bail!("logs of `{id}`: {status}: {body}"),
        }
    }

    /// The steps that a task has begun, in order.
    ///
    /// # Errors
    /// When there is no such task.
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
    /// When there is no such task.
    pub async fn events(&self, id: &str, kind: &str) -> Result<Vec<TaskEvent>> {
        let answer = self.get(&format!("/api/task/{id}/events")).await?;
        let mut history: TaskEvents = expect(answer, StatusCode::OK).await?;
        history.events.retain(|event| event.event == kind);
        Ok(history.events)
    }

    /// Asks a task to stop.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn stop(&self, id: &str) -> Result<StatusCode> {
        self.post(&format!("task/{id}/stop")).await
    }

    /// Asks a task to stop without grace periods.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn stop_by_force(&self, id: &str) -> Result<StatusCode> {
        self.post(&format!("task/{id}/stop?force=true")).await
    }

    async fn post(&self, path: &str) -> Result<StatusCode> {
        let url = format!("{}/api/{path}", self.url);
        let answer = self.http.post(&url).send().await;
        Ok(answer.with_context(|| format!("POST {path}"))?.status())
    }

    /// Deletes a task, and gives the status and body of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, id: &str) -> Result<(StatusCode, String)> {
        self.delete_at(&format!("task/{id}")).await
    }

    /// Deletes a task without grace periods, and gives the status and body of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete_by_force(&self, id: &str) -> Result<(StatusCode, String)> {
        self.delete_at(&format!("task/{id}?force=true")).await
    }

    async fn delete_at(&self, path: &str) -> Result<(StatusCode, String)> {
        let url = format!("{}/api/{path}", self.url);
        let answer = self.http.delete(&url).send().await.context("DELETE task")?;
        Ok((answer.status(), answer.text().await?))
    }

    /// Removes all bundles.
    ///
    /// # Errors
    /// When one stays.
    pub async fn delete_bundles(&self) -> Result<()> {
        let answer = self.get("/api/databind/list").await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        for bundle in expect::<Vec<Upload>>(answer, StatusCode::OK).await? {
            let (status, words) = self.delete_bundle(&bundle.id).await?;
            if status != StatusCode::NO_CONTENT {
                bail!("DELETE bundle: {status} {words}");
            }
        }
        Ok(())
    }

    /// Deletes a bundle, and gives the status and body of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete_bundle(&self, id: &str) -> Result<(StatusCode, String)> {
        let url = format!("{}/api/databind/{id}", self.url);
        let answer = self.http.delete(&url).send().await;
        let answer = answer.context("DELETE bundle")?;
        Ok((answer.status(), answer.text().await?))
    }
}

async fn expect<T: serde::de::DeserializeOwned>(answer: Response, wanted: StatusCode) -> Result<T> {
    let (status, url) = (answer.status(), answer.url().clone());
    let body = answer.text().await?;
    if status != wanted {
        bail!("{url}: {status} instead of {wanted}: {body}");
    }
    serde_json::from_str(&body).with_context(|| format!("{url}: {body}"))
}
