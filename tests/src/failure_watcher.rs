//! Watches Docker's list of Swarm tasks independently of the Director and records failures with Docker's timestamps.

use crate::engine;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A Swarm task that ended or cannot be scheduled.
#[derive(Debug, Clone)]
pub struct SwarmTaskFailure {
    /// Name of its task.
    pub task: String,
    /// Its role, for example `worker`.
    pub role: String,
    /// Its state in Docker.
    pub state: String,
    /// Docker's reason.
    pub reason: String,
    /// Timestamp of that state, by the clock of its node.
    pub at: OffsetDateTime,
    /// Time at which the manager's list first showed it, slightly later.
    pub listed: OffsetDateTime,
}

/// Watches the Swarm tasks of one Director. Stops when dropped.
pub struct FailureWatcher {
    failures: Arc<Mutex<BTreeMap<String, SwarmTaskFailure>>>,
    poller: JoinHandle<()>,
}

impl Drop for FailureWatcher {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SwarmTask {
    #[serde(rename = "ID")]
    id: String,
    spec: Spec,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_spec: ContainerSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerSpec {
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    timestamp: String,
    state: String,
    #[serde(default)]
    err: String,
}

impl FailureWatcher {
    /// Watches the Swarm tasks with the label of the Director `id`.
    ///
    /// # Errors
    /// When `DOCKER_HOST` is not a socket.
    pub fn start(id: &str) -> Result<Self> {
        let http = engine::client()?;
        let failures = Arc::<Mutex<BTreeMap<String, SwarmTaskFailure>>>::default();
        let (recorded, label) = (Arc::clone(&failures), format!("com.atq.director={id}"));
        let poller = tokio::spawn(async move {
            loop {
                // After an error, the next iteration retries.
                for (id, failure) in poll(&http, &label).await.unwrap_or_default() {
                    let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
                    recorded.entry(id).or_insert(failure);
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        });
        Ok(Self { failures, poller })
    }

    /// The Swarm task of this task and role whose end caused the failure that was reported at `reported`: the first
    /// one, or the last attempt of a wait command.
    pub fn cause(
        &self,
        task: &str,
        role: &str,
        reported: OffsetDateTime,
    ) -> Option<SwarmTaskFailure> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |it: &&SwarmTaskFailure| it.task == task && it.role == role && it.at <= reported;
        let own = failures.values().filter(own);
        match role {
            "wait" => own.max_by_key(|it| it.at).cloned(),
            _ => own.min_by_key(|it| it.at).cloned(),
        }
    }
}

async fn poll(http: &reqwest::Client, label: &str) -> Result<Vec<(String, SwarmTaskFailure)>> {
    let filters = json!({"label": [label]}).to_string();
    let response = http
        .get("http://docker/tasks")
        .query(&[("filters", filters)])
        .send()
        .await?;
    let tasks: Vec<SwarmTask> = serde_json::from_str(&response.text().await?)?;
    tasks
        .into_iter()
        .filter(|task| has_failed(&task.status))
        .map(|task| Ok((task.id.clone(), failure_of(task)?)))
        .collect()
}

fn has_failed(status: &Status) -> bool {
    let ended = ["complete", "failed", "rejected", "shutdown", "orphaned"];
    ended.contains(&status.state.as_str()) || status.state == "pending" && !status.err.is_empty()
}

fn failure_of(task: SwarmTask) -> Result<SwarmTaskFailure> {
    let labels = task.spec.container_spec.labels;
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    Ok(SwarmTaskFailure {
        task: label("com.atq.task"),
        role: label("com.atq.role"),
        state: task.status.state,
        reason: task.status.err,
        at: parse_time(&task.status.timestamp)?,
        listed: OffsetDateTime::now_utc(),
    })
}

/// Parses a timestamp of Docker or of the Director.
///
/// # Errors
/// When it is malformed.
pub fn parse_time(text: &str) -> Result<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).with_context(|| format!("`{text}` is not a timestamp"))
}
